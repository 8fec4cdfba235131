/** What a user does with seats: take and let go, have the best picked, pay; and what is said of it. */

import { book } from './bookings.js';
import { errorText, t } from './i18n.js';
import { placeOf, placesOf } from './seat-plan.js';

/**
 * @param {object} options
 * @param {import('./event-list.js').EventInfo} options.event
 * @param {import('../keepseat/seats.js').Seats} options.seats
 * @param {import('../keepseat/elements/seat-plan.js').Plan} options.plan
 * @param {import('./words.js').Words} options.words
 * @param {() => boolean} options.isOpen whether seats can be taken
 */
export function seatActions({ event, seats, plan, words, isOpen }) {
  /** Seats that an answer is awaited for: a second press would undo the first. @type {Set<string>} */
  const pending = new Set();

  /** @param {import('../keepseat/elements/seat-plan.js').Seat} seat */
  function press(seat) {
    const { id } = seat;
    const state = seats.stateOf(id);
    if (pending.has(id)) return;
    if (state === 'own') run(() => waitFor(id, seats.release([id])));
    else if (state !== 'available') words.complain(t('seatTaken', { place: placeOf(seat) }));
    else if (!isOpen()) words.complain(reason({ code: event.waitingRoom ? 'not_admitted' : 'not_open' }));
    else run(() => waitFor(id, seats.hold([id])));
  }

  /**
   * @param {string} id
   * @param {Promise<unknown>} answer
   */
  async function waitFor(id, answer) {
    pending.add(id);
    await answer.finally(() => pending.delete(id));
  }

  /**
   * @param {number} count
   * @param {string} [section]
   * @returns {Promise<string[]>} the seats that were picked
   */
  async function pick(count, section) {
    const before = new Set(seats.held);
    await seats.holdBest(count, section);
    const fresh = seats.held.filter((id) => !before.has(id));
    words.whisper(t('picked', { count: fresh.length }));
    return fresh;
  }

  /** @param {string[]} ids */
  async function pay(ids) {
    const booking = await book(event.id, ids);
    words.say(t('paid', { seats: placesOf(plan, booking.seats), booking: booking.bookingId }));
    return booking;
  }

  /** Do it, and say what went wrong. @param {() => Promise<unknown>} work */
  async function run(work) {
    words.clear();
    try {
      await work();
    } catch (error) {
      words.complain(reason(/** @type {{ code: string, details?: any }} */ (error)));
    }
  }

  /** @param {{ code: string, details?: any }} error */
  function reason({ code, details }) {
    const taken = code === 'seat_unavailable' && details?.seats;
    return taken?.length
      ? t('seatTaken', { place: placesOf(plan, taken) })
      : t('failed', { reason: errorText(code) });
  }

  return { press, pick, pay, run };
}
