/** What this user has paid for, in whichever event. */

import { bookings } from './bookings.js';
import { h } from './dom.js';
import { request } from './http.js';
import { t } from './i18n.js';
import { fill, placeholder } from './states.js';
import { ticket } from './ticket.js';

/**
 * @param {string} name whose tickets they are
 * @param {AbortSignal} signal
 */
export function ticketsView(name, signal) {
  const place = h('div');
  fill(
    place,
    {
      load: () => Promise.all([bookings(), request('/events')]),
      show: ([booked, { events }]) => list(booked, events, name),
      failed: ({ status }) => (status === 404 ? empty() : null),
      boxes: 2,
      heading: 'h2',
    },
    signal,
  );
  return h(
    'section',
    {},
    h('h1', { tabindex: '-1' }, t('myTickets')),
    h('p', { class: 'lead' }, t('myTicketsLead')),
    place,
  );
}

/**
 * @param {(import('./ticket.js').Booking & { eventId: string })[]} booked
 * @param {import('./event-list.js').EventInfo[]} events
 * @param {string} name
 */
function list(booked, events, name) {
  const byId = new Map(events.map((event) => [event.id, event]));
  const tickets = booked.flatMap((booking) => {
    const event = byId.get(booking.eventId);
    return event ? [h('li', {}, ticket(event, booking, name, 'h2'))] : [];
  });
  return tickets.length ? h('ul', { class: 'tickets' }, ...tickets) : empty();
}

function empty() {
  const action = h('a', { class: 'primary', href: '#/' }, t('backToEvents'));
  return placeholder({ sign: 'ticket', title: t('noTickets'), text: t('noTicketsLead'), action });
}
