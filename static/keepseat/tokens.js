/** Asking the app for a token: one call at a time, and one refresh at a time over all tabs. */

/** @import { GetToken } from './types.js' */

const LOCK = 'keepseat-token';
/** Longer than a refresh over a poor line takes; a callback that hangs must not hang the client, or other tabs. */
const TIMEOUT_MS = 15_000;
/**
 * What one tab stores may reach the others after the lock does: their processes have copies of `localStorage`. So a
 * tab that had to wait for the lock looks several times, and the one that refreshes keeps the lock a little longer.
 */
const LOOK_MS = 600;
const KEEP_MS = 50;

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
    const token = await (refresh ? this.#inTurn({ ifAvailable: true }, 0) : this.#call(false));
    this.#last = token ?? undefined;
    return token;
  }

  /**
   * @param {LockOptions} options
   * @param {number} lookMs
   * @returns {Promise<string | null | undefined>}
   */
  async #inTurn(options, lookMs) {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const turn = (/** @type {Lock | null | {}} */ lock) =>
      lock ? this.#refresh(lookMs) : this.#inTurn({ signal }, LOOK_MS);
    return globalThis.navigator?.locks?.request(LOCK, options, turn) ?? turn({});
  }

  /**
   * By the clock, not so many times: a hidden page's timers come late, up to a minute, and the others wait.
   *
   * @param {number} lookMs how long to look what another tab has fetched
   */
  async #refresh(lookMs) {
    for (const end = Date.now() + lookMs; Date.now() < end; await pause(KEEP_MS)) {
      const token = await this.#call(false).catch(() => this.#last);
      if (token !== this.#last) return token;
    }
    const token = await this.#call(true);
    await pause(KEEP_MS);
    return token;
  }

  /** @param {boolean} refresh */
  #call(refresh) {
    return within(TIMEOUT_MS, this.#getToken({ refresh, refused: refresh ? this.#last : undefined }));
  }
}

/** @param {number} ms */
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

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
