/** A ticket: what was paid for, and the code that opens the door; on its own page, or in a dialog once it is paid. */

import { planOf } from '../keepseat/elements/seat-plan.js';
import { barcode } from './barcode.js';
import { h, icon } from './dom.js';
import { formatDate, t } from './i18n.js';
import { placesOf, sumOf } from './seat-plan.js';

/** @typedef {{ bookingId: string, seats: string[] }} Booking */

/**
 * @param {import('./event-list.js').EventInfo} event
 * @param {Booking} booking
 * @param {string} name whose it is
 * @param {'h2' | 'h3'} heading
 */
export function ticket(event, { bookingId, seats }, name, heading) {
  const plan = planOf(event);
  const price = sumOf(plan, seats);
  const place = [event.venue, event.startsAt ? formatDate(event.startsAt) : t('soon')].filter(Boolean);
  return h(
    'article',
    { class: 'ticket' },
    h('header', { class: 'ticket-top' }, h(heading, {}, event.title), h('p', {}, place.join(' · '))),
    h(
      'div',
      { class: 'ticket-body' },
      h(
        'dl',
        {},
        fact('chooseSeats', ...seats.map((id) => placesOf(plan, [id]))),
        fact('guest', name),
        price && fact('paidSum', price),
      ),
      barcode(bookingId),
    ),
  );
}

/**
 * @param {import('./i18n.js').Key} key
 * @param {string[]} lines
 */
function fact(key, ...lines) {
  return h('div', {}, h('dt', {}, t(key)), h('dd', {}, ...lines.map((line) => h('span', {}, line))));
}

/**
 * Show a ticket over the page; it goes when it is closed.
 *
 * @param {HTMLElement} shown
 * @param {() => void} onClosed
 * @param {AbortSignal} signal
 */
export function showTicket(shown, onClosed, signal) {
  const heading = h('h2', { id: 'ticket-dialog', tabindex: '-1' }, t('ticketReady'));
  const dialog = /** @type {HTMLDialogElement} */ (
    h(
      'dialog',
      { 'aria-labelledby': 'ticket-dialog', close: gone },
      heading,
      shown,
      h(
        'footer',
        {},
        h('a', { class: 'secondary', href: '#/tickets' }, icon('ticket'), t('myTickets')),
        h('button', { type: 'button', class: 'primary', click: () => dialog.close() }, t('close')),
      ),
    )
  );

  function gone() {
    dialog.remove();
    if (!signal.aborted) onClosed();
  }

  signal.addEventListener('abort', () => dialog.close());
  document.body.append(dialog);
  dialog.showModal();
  heading.focus();
}
