/** The sale of one event: the way in, the map, the choice, and what is held. */

import { basket } from './basket.js';
import { bestSeats } from './best-seats.js';
import { book } from './bookings.js';
import { h, icon } from './dom.js';
import { gate } from './gate.js';
import { errorText, t } from './i18n.js';
import { watchLive } from './liveness.js';
import { notify } from './notices.js';
import { seatMap } from './seat-map.js';
import { placeOf, planOf } from './seat-plan.js';
import { waitingRoom } from './waiting-room.js';

/** @typedef {import('./event-list.js').EventInfo} EventInfo */

/**
 * @param {EventInfo} event
 * @param {import('../keepseat/client.js').Client} client
 * @param {AbortSignal} signal
 */
export function seatPanel(event, client, signal) {
  const seats = client.seats(event.id);
  const queue = client.queue(event.id);
  const plan = planOf(event);
  const words = messages();
  /** Seats that an answer is awaited for: a second press would undo the first. @type {Set<string>} */
  const pending = new Set();
  let isOpen = false;

  const heading = h('h2', { id: 'panel-seats', tabindex: '-1' }, t('chooseSeats'));
  const map = seatMap({ plan, seats, onPress: press, signal });
  const picker = bestSeats(plan, event.maxSeats, (count, section) => run(() => pick(count, section)));
  const body = h('div', { class: 'seat-body', hidden: true }, picker, map.element);
  const room = event.waitingRoom && waitingRoom({ event, client, queue, onClosed, signal });
  const way = gate({ event, client, queue, onEnter: enter, run, onPhase, signal });
  const held = basket({ client, seats, plan, run, pay, signal });
  const stale = h('p', { class: 'stale', role: 'status' });
  const closed = h('p', { class: 'hint' }, t('seatsLoading'));
  const element = h(
    'section',
    { class: 'sale', 'aria-labelledby': 'panel-seats' },
    h('header', {}, icon('seat'), h('div', {}, heading, h('p', {}, t('chooseSeatsLead', { count: event.maxSeats })))),
    way.element,
    closed,
    body,
    // below the map, in sight wherever that is scrolled to: what comes and goes must not move the seats
    h('div', { class: 'dock' }, stale, words.element, held),
    room && room.element,
  );

  // --- what the user does ---

  function enter() {
    if (room) room.open();
  }

  /** @param {import('./seat-plan.js').Seat} seat */
  function press(seat) {
    const { id } = seat;
    const state = seats.stateOf(id);
    if (pending.has(id)) return;
    if (state === 'own') run(() => waitFor(id, seats.release([id])));
    else if (state !== 'available') words.complain(t('seatTaken', { place: placeOf(seat) }));
    else if (!isOpen) words.complain(reason({ code: event.waitingRoom ? 'not_admitted' : 'not_open' }));
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
   */
  async function pick(count, section) {
    const before = new Set(seats.held);
    await seats.holdBest(count, section);
    const fresh = seats.held.filter((id) => !before.has(id));
    if (fresh.length) map.reveal(fresh[0]);
    words.say(t('picked', { count: fresh.length }));
  }

  /** @param {string[]} ids */
  async function pay(ids) {
    const { bookingId, seats: booked } = await book(event.id, ids);
    words.say(t('paid', { seats: places(booked), booking: bookingId }));
    heading.focus();
  }

  /** @param {() => Promise<unknown>} work */
  async function run(work) {
    words.clear();
    try {
      await work();
    } catch (error) {
      words.complain(reason(/** @type {{ code: string, details?: any }} */ (error)));
    }
  }

  // --- what happens ---

  /** @param {import('./gate.js').Phase} phase */
  function onPhase(phase) {
    isOpen = phase === 'open' || phase === 'admitted';
    picker.inert = !isOpen;
    body.dataset.open = String(isOpen);
  }

  function onClosed() {
    if (queue.status === 'admitted') heading.focus();
    else way.focus();
  }

  /** @param {{ previous: string, reason?: string }} change */
  function onQueue({ previous, reason }) {
    const { status } = queue;
    if (status === 'admitted' && previous !== 'admitted') notify(t('admitted'));
    else if (status === 'none' && previous === 'admitted' && reason) words.complain(t('turnOver'));
    else if (status === 'none' && previous === 'waiting' && reason) words.complain(t('placeLost'));
    // known from before: the place outlives a reload, and so does its dialog
    else if (status === 'waiting' && previous === 'none') enter();
  }

  /** @param {string[]} ids */
  const places = (ids) =>
    ids.map((id) => plan.byId.get(id)).map((seat, i) => (seat ? placeOf(seat) : ids[i])).join(' · ');

  /** @param {{ code: string, details?: any }} error */
  function reason({ code, details }) {
    const taken = code === 'seat_unavailable' && details?.seats;
    return taken?.length ? t('seatTaken', { place: places(taken) }) : t('failed', { reason: errorText(code) });
  }

  /** @param {boolean} isLive */
  function showLive(isLive) {
    stale.textContent = isLive || !seats.isKnown ? '' : t('mapStale');
  }

  function showKnown() {
    closed.hidden = seats.isKnown;
    body.hidden = !seats.isKnown;
  }

  seats.addEventListener('change', showKnown, { signal });
  seats.addEventListener(
    'expired',
    (expired) => words.complain(t('holdEnded', { seats: places(/** @type {CustomEvent} */ (expired).detail.seats) })),
    { signal },
  );
  queue.addEventListener('change', (change) => onQueue(/** @type {CustomEvent} */ (change).detail), { signal });
  watchLive(client, showLive, signal);
  showKnown();
  seats.join({ timeoutMs: Infinity }).catch(({ code }) => {
    if (!signal.aborted) closed.textContent = t('failed', { reason: errorText(code) });
  });
  signal.addEventListener('abort', () => seats.leave().catch(() => {}));
  if (queue.status === 'waiting') queueMicrotask(enter);
  return element;
}

/** What went well and what did not, each in a region that is read out; the newest word only. */
function messages() {
  const good = h('div', { role: 'status' });
  const bad = h('div', { role: 'alert' });
  const clear = () => [good, bad].forEach((region) => region.replaceChildren());
  return {
    element: h('div', { class: 'words' }, good, bad),
    clear,
    /** @param {string} text */
    say(text) {
      clear();
      good.append(h('p', { class: 'success' }, icon('check'), text));
    },
    /** @param {string} text */
    complain(text) {
      clear();
      bad.append(h('p', { class: 'trouble' }, icon('warning'), text));
    },
  };
}
