/** What happens to a page and its network, as far as a connection cares. */

/**
 * @param {import('./connection.js').Connection} connection
 * @param {() => void} save
 * @param {AbortSignal} signal ends the listening
 */
export function watchPage(connection, save, signal) {
  /** @type {Record<string, () => void>} */
  const listeners = {
    online: () => connection.hurry(true),
    // some browsers never report the close of a line that went with the network
    offline: () => connection.abandon('offline'),
    pageshow: () => connection.hurry(false),
    // a page with an open socket is not kept for the back button
    pagehide: () => {
      save();
      connection.abandon('page_hidden');
    },
  };
  for (const [type, listener] of Object.entries(listeners)) {
    globalThis.addEventListener?.(type, listener, { signal });
  }
  // a hidden page on a phone may be ended without another word
  globalThis.document?.addEventListener(
    'visibilitychange',
    () => (document.hidden ? save() : connection.hurry(false)),
    { signal },
  );
}
