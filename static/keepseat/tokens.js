/** Asking the app for a token: one call at a time, and one refresh at a time over all tabs. */

/** @import { GetToken } from './types.js' */

const LOCK = 'keepseat-token';
/** Longer than a refresh over a poor line takes; a callback that hangs must not hang the client, or other tabs. */
const TIMEOUT_MS = 15_000;
/**
 * What one tab stores may reach the others after the lock does: their processes have copies of `localStorage`. So a
 * tab that had to wait for the lock looks several times, and the one that refreshed keeps the lock a little longer.
 */
const LOOK_AGAIN_MS = [0, 10, 40, 150, 400];
const KEEP_MS = 250;

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
    const locks = refresh ? globalThis.navigator?.locks : undefined;
    const token = await (locks ? this.#askInTurn(locks) : this.#call(refresh));
    this.#last = token ?? undefined;
    return token;
  }

  /** @param {LockManager} locks */
  async #askInTurn(locks) {
    const alone = await take(locks, { ifAvailable: true });
    const release = alone ?? (await take(locks, { signal: AbortSignal.timeout(TIMEOUT_MS) }));
    let isNew = false;
    try {
      const stored = alone ? this.#last : await this.#fromOtherTab();
      if (stored !== this.#last) return stored;
      const token = await this.#call(true);
      isNew = true;
      return token;
    } finally {
      if (isNew) setTimeout(() => release?.(), KEEP_MS);
      else release?.();
    }
  }

  /** The token that another tab has fetched meanwhile, or the last one where there is none. */
  async #fromOtherTab() {
    for (const waitMs of LOOK_AGAIN_MS) {
      await new Promise((resolve) => setTimeout(resolve, waitMs));
      const token = await this.#call(false);
      if (token !== this.#last) return token;
    }
    return this.#last;
  }

  /** @param {boolean} refresh */
  #call(refresh) {
    return within(TIMEOUT_MS, this.#getToken({ refresh, refused: refresh ? this.#last : undefined }));
  }
}

/**
 * @param {LockManager} locks
 * @param {LockOptions} options
 * @returns {Promise<(() => void) | null>} lets the lock go; nothing where it is another tab's and was not to be waited for
 */
function take(locks, options) {
  return new Promise((resolve, reject) => {
    const hold = (/** @type {Lock | null} */ lock) =>
      lock ? new Promise((release) => resolve(() => release(undefined))) : resolve(null);
    locks.request(LOCK, options, hold).catch(reject);
  });
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
