/** Things that change with time alone. */

const TICK_MS = 250;

/**
 * Now, and again and again until the signal comes.
 *
 * @param {() => void} listener
 * @param {AbortSignal} signal
 */
export function every(listener, signal) {
  const timer = setInterval(listener, TICK_MS);
  signal.addEventListener('abort', () => clearInterval(timer));
  listener();
}
