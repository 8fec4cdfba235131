/** Whether what is shown is what is: not while the line is down, and not before the next one has caught up. */

/**
 * @param {import('../keepseat/client.js').Client} client
 * @param {(isLive: boolean) => void} listener called at once, too
 * @param {AbortSignal} signal
 */
export function watchLive(client, listener, signal) {
  let isBehind = !client.isConnected && client.connected !== null;
  /** @param {boolean} isLive */
  const tell = (isLive) => {
    if (isLive) isBehind = false;
    listener(isLive);
  };
  client.on(
    'state',
    ({ state }) => {
      if (state === 'reconnecting' || state === 'disconnected') isBehind = true;
      tell(state === 'connected' && !isBehind);
    },
    { signal },
  );
  client.on('session-restored', () => tell(true), { signal });
  tell(client.isConnected);
}
