/** The server's HTTP calls, with errors that carry a code word. */

/** An answer that was no success, or none at all (`status` 0, `network`). */
export class HttpError extends Error {
  /**
   * @param {number} status
   * @param {string} code
   */
  constructor(status, code) {
    super(`${status} ${code}`);
    this.status = status;
    this.code = code;
  }
}

/** Names one wish: the server fulfils it once, however often it is sent. */
export function newKey() {
  return crypto.getRandomValues(new Uint32Array(4)).join('-');
}

/**
 * @param {string} path
 * @param {RequestInit} [init]
 * @returns {Promise<any>} the JSON of the answer; null where it has none
 */
export async function request(path, init) {
  const answer = await fetch(path, init).catch(() => {
    throw new HttpError(0, 'network');
  });
  const body = await answer.json().catch(() => null);
  if (!answer.ok) throw new HttpError(answer.status, body?.error?.code ?? 'other');
  return body;
}

/**
 * @param {string} path
 * @param {object} [body]
 * @param {Record<string, string>} [headers]
 */
export function post(path, body = {}, headers = {}) {
  return request(path, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
}
