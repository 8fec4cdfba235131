/** Paying, as far as a demo goes: the server books what the user holds. */

import { getToken, token } from './account.js';
import { HttpError, post } from './http.js';

/**
 * @param {string} eventId
 * @param {string[]} seats
 * @returns {Promise<{ bookingId: string, seats: string[] }>}
 */
export async function book(eventId, seats) {
  const current = token();
  try {
    return await send(current);
  } catch (error) {
    if (!(error instanceof HttpError) || error.status !== 401 || !current) throw error;
    return send(await getToken({ refresh: true, refused: current }));
  }

  /** @param {string | null | undefined} jwt */
  function send(jwt) {
    return post('/demo/bookings', { eventId, seats }, { Authorization: `Bearer ${jwt}` });
  }
}
