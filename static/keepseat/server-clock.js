/** The server's time, as far as it can be told from here: deadlines are the server's, and clocks differ. */

/** An answer that took longer says too little about when it was given. */
const SLOWEST_MS = 1_000;

export class ServerClock {
  #aheadMs = 0;

  /** @param {number} serverTime said just now */
  set(serverTime) {
    this.#aheadMs = serverTime - Date.now();
  }

  /**
   * A question of `t` was answered: the server's time is that of half way.
   *
   * @param {import('./types.js').Frame} pong
   */
  refine({ t, serverTime }) {
    const roundTripMs = Date.now() - t;
    if (roundTripMs >= 0 && roundTripMs <= SLOWEST_MS) this.set(serverTime + roundTripMs / 2);
  }

  /** @returns {number} Unix milliseconds */
  now() {
    return Date.now() + this.#aheadMs;
  }
}
