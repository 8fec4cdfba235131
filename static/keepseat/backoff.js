/** How long to wait before the next try: full jitter, so that a thousand clients do not return as one wave. */

const FIRST_MS = 1_000;
const LONGEST_MS = 30_000;

/**
 * A random time within 1 s, 2 s, 4 s … 30 s.
 *
 * @param {number} failures tries that have failed so far; 0 for the first try
 * @param {() => number} [random] from 0 up to 1
 * @returns {number} milliseconds
 */
export function backoffDelay(failures, random = Math.random) {
  return random() * Math.min(LONGEST_MS, FIRST_MS * 2 ** failures);
}
