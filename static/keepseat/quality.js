/** How good the connection is: what the heartbeats' round trips say, and how often it broke. */

/** @import { QualityFigures, StateChange } from './types.js' */

/** Answers looked at: two and a half minutes of a quiet line, ten of a busy one. */
const WINDOW = 30;
const LATE_MS = 1_000;
/** A page that slept reads old answers: a line as slow as this would have been given up. */
const ABSURD_MS = 10_000;
const HOUR_MS = 3_600_000;
const MOST_BREAKS = 100;

/** The most that each level allows, best level first. @type {[QualityFigures['level'], Record<string, number>][]} */
const LEVELS = [
  ['good', { p95Ms: 300, jitterMs: 100, late: 0, missed: 0, reconnects: 2 }],
  ['fair', { p95Ms: 1_000, jitterMs: 300, late: 2, missed: 1, reconnects: 5 }],
];

export class Quality {
  /** @type {number[]} */
  #trips = [];
  /** @type {{ at: number, missed: boolean }[]} */
  #breaks = [];
  #isDown = false;

  /** A heartbeat was answered. @param {number} tripMs */
  measure(tripMs) {
    if (tripMs >= 0 && tripMs < ABSURD_MS) this.#trips = [...this.#trips, tripMs].slice(-WINDOW);
  }

  /** @param {StateChange} change */
  follow({ state, previous, code, reason }) {
    // neither a server that restarts nor a page that lets go of its line says anything of the network
    if (previous === 'connected' && code && code !== 1012 && reason !== 'page_hidden') {
      this.#breaks = [...this.#breaks, { at: Date.now(), missed: reason === 'silent' }].slice(-MOST_BREAKS);
    }
    this.#isDown = state !== 'connected';
  }

  /** @returns {QualityFigures} */
  get figures() {
    const trips = this.#trips;
    const sorted = [...trips].sort((a, b) => a - b);
    const part = (/** @type {number} */ p) => sorted[Math.ceil(p * sorted.length) - 1] ?? null;
    const steps = trips.slice(1).map((trip, i) => Math.abs(trip - trips[i]));
    const breaks = this.#breaks.filter(({ at }) => at > Date.now() - HOUR_MS);
    const figures = {
      p50Ms: part(0.5),
      p95Ms: part(0.95),
      jitterMs: steps.length ? steps.reduce((sum, step) => sum + step) / steps.length : null,
      late: trips.filter((trip) => trip > LATE_MS).length,
      missed: breaks.filter(({ missed }) => missed).length,
      reconnects: breaks.length,
    };
    return { level: this.#judge(figures), ...figures };
  }

  /** @param {Record<string, any>} figures */
  #judge(figures) {
    if (this.#isDown) return 'poor';
    if (!this.#trips.length) return null;
    const isMet = (/** @type {Record<string, number>} */ most) =>
      Object.entries(most).every(([name, limit]) => figures[name] <= limit);
    return LEVELS.find(([, most]) => isMet(most))?.[0] ?? 'poor';
  }
}
