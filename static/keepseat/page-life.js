/** What happens to a page and its network, as far as a connection cares. */

/**
 * @param {{ hurry: (afresh: boolean) => void, abandon: (reason: string) => void, save: () => void }} client
 * @param {AbortSignal} signal ends the listening
 */
export function watchPage({ hurry, abandon, save }, signal) {
  /** @type {Record<string, () => void>} */
  const listeners = {
    online: () => hurry(true),
    // some browsers never report the close of a line that went with the network
    offline: () => abandon('offline'),
    pageshow: () => hurry(false),
    // a page with an open socket is not kept for the back button
    pagehide: () => {
      save();
      abandon('page_hidden');
    },
  };
  for (const [type, listener] of Object.entries(listeners)) {
    globalThis.addEventListener?.(type, listener, { signal });
  }
  // a hidden page on a phone may be ended without another word
  globalThis.document?.addEventListener('visibilitychange', () => (document.hidden ? save() : hurry(false)), {
    signal,
  });
}
