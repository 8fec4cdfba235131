/** The sale of one event: the way in, the map, the choice, and what is held. */

import '../keepseat/elements/define.js';
import { planOf } from '../keepseat/elements/seat-plan.js';
import { basket } from './basket.js';
import { bestSeats } from './best-seats.js';
import { h, icon } from './dom.js';
import { gate } from './gate.js';
import { errorText, t } from './i18n.js';
import { watchLive } from './liveness.js';
import { notify } from './notices.js';
import { seatActions } from './seat-actions.js';
import { placesOf, seatMapLabels } from './seat-plan.js';
import { placeholder } from './states.js';
import { showTicket, ticket } from './ticket.js';
import { waitingRoom } from './waiting-room.js';
import { wordsPlace } from './words.js';

/** @typedef {import('../keepseat/client.js').Client} Client */
/** @typedef {import('../keepseat/queue.js').Queue} Queue */
/** @typedef {import('../keepseat/elements/seat-map.js').SeatMap} SeatMap */

/**
 * @param {import('./event-list.js').EventInfo} event
 * @param {{ client: Client, name: string }} context
 * @param {AbortSignal} signal
 */
export function seatPanel(event, { client, name }, signal) {
  const seats = client.seats(event.id);
  const queue = client.queue(event.id);
  const plan = planOf(event);
  const words = wordsPlace();
  const actions = seatActions({ event, seats, plan, words, isOpen: () => body.dataset.open === 'true' });
  const { run } = actions;

  const heading = h('h2', { id: 'panel-seats', tabindex: '-1' }, t('chooseSeats'));
  const press = (/** @type {CustomEvent} */ { detail }) => actions.press(detail.seat);
  const map = /** @type {SeatMap} */ (h('seat-map', { 'seat-press': press }));
  map.labels = seatMapLabels();
  map.seating = event;
  map.seats = seats;
  const picker = bestSeats(plan, event.maxSeats, (count, section) => run(() => pick(count, section)));
  const body = h('div', { class: 'seat-body', hidden: true }, picker, map);
  const loading = h('p', { class: 'seats-wait' }, t('seatsLoading'));
  const soldOut = placeholder({ sign: 'seat', title: t('soldOut'), text: t('soldOutLead'), heading: 'h3' });
  soldOut.classList.add('sold-out');
  const stale = h('p', { class: 'stale', role: 'status' });
  const room = event.waitingRoom && waitingRoom({ event, client, queue, onClosed, signal });
  const way = gate({ event, client, queue, onEnter: enter, run, onPhase, signal });
  const held = basket({ client, seats, plan, run, pay, signal });
  const lead = h('p', {}, t('chooseSeatsLead', { count: event.maxSeats }));

  function enter() {
    if (room) room.open();
  }

  /**
   * @param {number} count
   * @param {string} [section]
   */
  async function pick(count, section) {
    const [first] = await actions.pick(count, section);
    if (first) map.reveal(first);
  }

  /** @param {string[]} ids */
  async function pay(ids) {
    const booking = await actions.pay(ids);
    showTicket(ticket(event, booking, name, 'h3'), () => heading.focus(), signal);
  }

  /** @param {import('./gate.js').Phase} phase */
  function onPhase(phase) {
    const isOpen = phase === 'open' || phase === 'admitted';
    picker.inert = !isOpen;
    body.dataset.open = String(isOpen);
    map.toggleAttribute('closed', !isOpen);
  }

  function onClosed() {
    if (queue.status === 'admitted') heading.focus();
    else way.focus();
  }

  function showKnown() {
    loading.hidden = seats.isKnown;
    body.hidden = !seats.isKnown;
    const hasGone = seats.isKnown && seats.available === 0 && seats.total > 0;
    picker.hidden = hasGone;
    // whoever has the last ones wants to pay, not to be told that there are none
    soldOut.hidden = !hasGone || seats.held.length > 0;
  }

  /** @param {boolean} isLive */
  function showLive(isLive) {
    body.dataset.live = String(isLive);
    stale.textContent = isLive || !seats.isKnown ? '' : t('mapStale');
  }

  seats.addEventListener('change', showKnown, { signal });
  watchLive(client, showLive, signal);
  showKnown();
  tellExpiry(seats, plan, words, signal);
  tellTurns(queue, words, enter, signal);
  stayAt(seats, signal, (code) => {
    loading.textContent = t('failed', { reason: errorText(code) });
  });
  return h(
    'section',
    { class: 'sale', 'aria-labelledby': 'panel-seats' },
    h('header', {}, icon('seat'), h('div', {}, heading, lead)),
    way.element,
    loading,
    soldOut,
    body,
    // below the map, in sight wherever that is scrolled to: what comes and goes must not move the seats
    h('div', { class: 'dock' }, stale, words.element, held),
    room && room.element,
  );
}

/**
 * Be told of every change until the signal comes, over every reconnect.
 *
 * @param {import('../keepseat/seats.js').Seats} seats
 * @param {AbortSignal} signal
 * @param {(code: string) => void} onRefused
 */
function stayAt(seats, signal, onRefused) {
  seats.join({ timeoutMs: Infinity }).catch(({ code }) => signal.aborted || onRefused(code));
  signal.addEventListener('abort', () => seats.leave().catch(() => {}));
}

/**
 * @param {import('../keepseat/seats.js').Seats} seats
 * @param {import('../keepseat/elements/seat-plan.js').Plan} plan
 * @param {import('./words.js').Words} words
 * @param {AbortSignal} signal
 */
function tellExpiry(seats, plan, words, signal) {
  seats.addEventListener(
    'expired',
    (event) => {
      const ids = /** @type {CustomEvent} */ (event).detail.seats;
      words.complain(t('holdEnded', { seats: placesOf(plan, ids) }));
    },
    { signal },
  );
}

/**
 * @param {Queue} queue
 * @param {import('./words.js').Words} words
 * @param {() => void} enter
 * @param {AbortSignal} signal
 */
function tellTurns(queue, words, enter, signal) {
  /** @param {{ previous: string, reason?: string }} change */
  function tell({ previous, reason }) {
    const { status } = queue;
    if (status === 'admitted' && previous !== 'admitted') notify(t('admitted'));
    // without a reason it was the user's own wish, here or in another tab
    else if (status === 'none' && reason)
      words.complain(t(previous === 'admitted' ? 'turnOver' : 'placeLost'));
    // known from before: the place outlives a reload, and so does its dialog
    else if (status === 'waiting' && previous === 'none') enter();
  }

  queue.addEventListener('change', (event) => tell(/** @type {CustomEvent} */ (event).detail), { signal });
  // once the page has taken the dialog in
  if (queue.status === 'waiting') queueMicrotask(enter);
}
