/** What to do after a connection was closed: the table of close codes, as data. */

/**
 * @typedef {'retry' | 'refresh' | 'sign-out' | 'stop'} Next
 * `refresh` the token and retry; `stop`: do not come back by yourself
 */

/** @type {Record<number, Next>} */
const BY_CODE = {
  1003: 'stop', // binary frame, not UTF-8, frame too big: a bug here, which a retry would only repeat
  1007: 'stop',
  1009: 'stop',
  3000: 'sign-out',
  3003: 'stop', // removed by an administrator
  4000: 'stop', // replaced: the user has opened too many others
};

/** @type {Record<string, Next>} */
const BY_REASON = {
  token_expired: 'refresh',
  auth_timeout: 'retry', // the line was slow; that says nothing about the token
};

/** Who broke the rules waits a minute; who is sent away by a restart comes back spread over seconds. */
const PENALTY_MS = 60_000;
const RESTART_SPREAD_MS = 5_000;

/**
 * @param {number} code
 * @param {string} reason
 * @param {() => number} [random] from 0 up to 1
 * @returns {{ next: Next, waitMs?: number }} `waitMs`: wait so long and no less; absent: back off
 */
export function afterClose(code, reason, random = Math.random) {
  const next = (code === 3000 && BY_REASON[reason]) || BY_CODE[code] || 'retry';
  if (next === 'refresh') return { next, waitMs: 0 };
  if (code === 1008) return { next, waitMs: PENALTY_MS };
  if (code === 1012) return { next, waitMs: random() * RESTART_SPREAD_MS };
  return { next };
}
