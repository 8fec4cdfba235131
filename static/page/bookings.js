/** Paying, as far as a demo goes: the server books what the user holds. */

import { getToken, token } from './account.js';
import { HttpError, newKey, post, request } from './http.js';

/** A payment whose answer was lost is asked about again: the seats may be sold by then. */
const TRIES = 4;
const PAUSE_MS = 1_000;

/**
 * @param {string} eventId
 * @param {string[]} seats
 * @returns {Promise<{ bookingId: string, seats: string[] }>}
 */
export async function book(eventId, seats) {
  const key = newKey();
  try {
    return await insist((jwt) => send({ eventId, seats }, jwt, key));
  } catch (error) {
    // not that of a seat taken: somebody else's, or nobody's, by now
    if (/** @type {HttpError} */ (error).status === 409) throw new HttpError(409, 'not_held');
    throw error;
  }
}

/**
 * What this user has booked and not given back, newest first.
 *
 * @returns {Promise<{ bookingId: string, eventId: string, seats: string[], bookedAt: number }[]>}
 */
export async function bookings() {
  const read = (/** @type {string | null} */ jwt) =>
    request('/demo/bookings', { headers: { Authorization: `Bearer ${jwt}` } });
  return (await insist(read)).bookings;
}

/**
 * Ask again where no answer came, and with another token where this one is over.
 *
 * @template T
 * @param {(jwt: string | null) => Promise<T>} ask
 * @returns {Promise<T>}
 */
async function insist(ask) {
  let jwt = token();
  for (let tries = 1; ; tries++) {
    try {
      return await ask(jwt);
    } catch (error) {
      const { status } = /** @type {HttpError} */ (error);
      const isOpen = status === 0 || status === 401 || status === 503;
      if (!isOpen || tries === TRIES) throw error;
      if (status === 401) jwt = (await getToken({ refresh: true, refused: jwt ?? undefined })) ?? null;
      else await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
}

/**
 * @param {{ eventId: string, seats: string[] }} body
 * @param {string | null} jwt
 * @param {string} key
 */
function send(body, jwt, key) {
  return post('/demo/bookings', body, { Authorization: `Bearer ${jwt}`, 'Idempotency-Key': key });
}
