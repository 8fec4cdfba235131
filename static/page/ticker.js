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

/** Minutes and seconds that are left, `4:59`. @param {number} ms */
export function clockText(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}
