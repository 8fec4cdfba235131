/** The list of events. */

import { h, icon } from './dom.js';
import { request } from './http.js';
import { formatDate, formatPrice, t } from './i18n.js';
import { poster } from './poster.js';
import { fill, placeholder } from './states.js';

/**
 * @typedef {{ name: string, rows: number, seatsPerRow: number, price?: number | null }} Section
 * @typedef {{ id: string, title: string, venue: string | null, startsAt: number | null, seatCount: number,
 *   maxSeats: number, waitingRoom: boolean, sections?: Section[], seats?: string[] }} EventInfo
 */

/** @param {AbortSignal} signal */
export function eventListView(signal) {
  const place = h('div');
  fill(
    place,
    {
      load: () => request('/events'),
      show: ({ events }) => (events.length ? list(events) : empty()),
      failed: () => null,
      boxes: 3,
      heading: 'h2',
    },
    signal,
  );
  return h(
    'section',
    {},
    h('h1', { tabindex: '-1' }, t('events')),
    h('p', { class: 'lead' }, t('eventsLead')),
    place,
  );
}

/** @param {EventInfo[]} events */
function list(events) {
  return h('ul', { class: 'cards' }, ...events.map((event) => h('li', {}, card(event))));
}

/** @param {EventInfo} event */
function card(event) {
  const price = lowestPrice(event);
  return h(
    'article',
    { class: 'event-card' },
    h(
      'div',
      { class: 'event-poster' },
      poster(event.id),
      h('h2', {}, h('a', { href: `#/events/${event.id}` }, event.title)),
    ),
    h(
      'div',
      { class: 'event-stub' },
      facts(event),
      h(
        'p',
        { class: 'tags' },
        price && h('span', { class: 'price' }, t('from', { price })),
        event.waitingRoom && h('span', { class: 'tag' }, t('waitingRoom')),
      ),
    ),
  );
}

/** Where, when and how many seats. @param {EventInfo} event */
export function facts({ venue, startsAt, seatCount }) {
  return h(
    'ul',
    { class: 'facts' },
    venue && h('li', {}, icon('place'), venue),
    h('li', {}, icon('clock'), startsAt ? formatDate(startsAt) : t('soon')),
    seatCount > 0 && h('li', {}, icon('seat'), t('seats', { count: seatCount })),
  );
}

/** @param {EventInfo} event */
function lowestPrice({ sections = [] }) {
  const prices = sections.flatMap(({ price }) => price ?? []);
  return prices.length ? formatPrice(Math.min(...prices)) : '';
}

function empty() {
  return placeholder({ sign: 'ticket', title: t('noEvents'), text: t('noEventsLead') });
}
