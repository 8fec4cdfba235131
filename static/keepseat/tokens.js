/** Asking the app for a token: one call at a time, and one refresh at a time over all tabs. */

/** @import { GetToken } from './types.js' */

const LOCK = 'keepseat-token';
/** Longer than a refresh over a poor line takes; a callback that hangs must not hang the client, or other tabs. */
const TIMEOUT_MS = 15_000;

export class Tokens {
  #getToken;
  /** @type {Promise<string | null | undefined> | null} */
  #asking = null;
  #refreshing = false;
  /** @type {string | undefined} the last one given out, which a refresh has to replace */
  #last;

  /** @param {GetToken} getToken */
  constructor(getToken) {
    this.#getToken = getToken;
  }

  /**
   * @param {boolean} refresh
   * @returns {Promise<string | null | undefined>}
   */
  get(refresh) {
    if (this.#asking && (this.#refreshing || !refresh)) return this.#asking;
    this.#refreshing = refresh;
    const before = Promise.resolve(this.#asking).catch(() => {});
    const asking = before
      .then(() => this.#ask(refresh))
      .finally(() => {
        if (this.#asking === asking) this.#asking = null;
      });
    this.#asking = asking;
    return asking;
  }

  /** @param {boolean} refresh */
  async #ask(refresh) {
    const ask = () =>
      within(TIMEOUT_MS, this.#getToken({ refresh, refused: refresh ? this.#last : undefined }));
    // a tab that waited for the lock finds the token that the other one has fetched
    const locks = refresh ? globalThis.navigator?.locks : undefined;
    const token = await (locks
      ? locks.request(LOCK, { signal: AbortSignal.timeout(TIMEOUT_MS) }, ask)
      : ask());
    this.#last = token ?? undefined;
    return token;
  }
}

/**
 * @template T
 * @param {number} ms
 * @param {Promise<T>} promise
 * @returns {Promise<T>}
 */
function within(ms, promise) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('no token came in time')), ms);
    Promise.resolve(promise)
      .then(resolve, reject)
      .finally(() => clearTimeout(timer));
  });
}
