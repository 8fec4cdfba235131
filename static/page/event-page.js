/** One event: what it is, its seats, who is here, and what is said, live. */

import { chatBox } from './chat.js';
import { h, icon } from './dom.js';
import { facts } from './event-list.js';
import { feed } from './feed.js';
import { request } from './http.js';
import { formatPrice, t } from './i18n.js';
import { poster } from './poster.js';
import { seatPanel } from './seat-panel.js';
import { fill, placeholder } from './states.js';

/** @typedef {import('./event-list.js').EventInfo} EventInfo */
/** @typedef {{ user: string, name: string, client: import('../keepseat/client.js').Client, history: import('./history.js').History }} Context */

/**
 * @param {string} id
 * @param {Context} context
 * @param {AbortSignal} signal
 */
export function eventView(id, context, signal) {
  const place = h('div');
  const back = h('a', { href: '#/', class: 'back' }, icon('back'), t('backToEvents'));
  fill(
    place,
    {
      load: () => request(`/events/${id}`),
      show: (event) => content(event, context, signal),
      failed: ({ status }) => (status === 404 ? noSuchEvent() : null),
      boxes: 2,
      heading: 'h1',
    },
    signal,
  );
  return h('section', {}, back, place);
}

/**
 * @param {EventInfo} event
 * @param {Context} context
 * @param {AbortSignal} signal
 */
function content(event, context, signal) {
  document.title = `${event.title} · Keepseat`;
  const people = h('p', { class: 'people' });
  stayIn(event.id, chatOf(event), context.client, signal, (count) =>
    people.replaceChildren(icon('people'), t('here', { count })),
  );
  return h(
    'div',
    { class: 'event' },
    h(
      'header',
      { class: 'hero' },
      h('div', { class: 'hero-poster' }, poster(event.id), h('h1', { tabindex: '-1' }, event.title)),
      h('div', { class: 'hero-words' }, facts(event), prices(event), people),
    ),
    event.seatCount > 0 && seatPanel(event, context, signal),
    h('div', { class: 'talks' }, ...talks(event, context, signal)),
  );
}

/**
 * What the organiser says, and what the others say.
 *
 * @param {EventInfo} event
 * @param {Context} context
 * @param {AbortSignal} signal
 */
function talks(event, { user, name, client, history }, signal) {
  const chat = chatOf(event);
  return [
    panel('horn', t('announcements'), t('announcementsLead'), [
      feed({
        history,
        signal,
        room: `event:${event.id}`,
        label: t('announcements'),
        empty: t('noAnnouncements'),
        read: readAnnouncement,
      }),
    ]),
    panel('talk', t('chat'), t('chatLead'), [
      feed({
        history,
        signal,
        room: chat,
        label: t('chat'),
        empty: t('noChat'),
        read: (data) => readChat(data, user),
      }),
      chatBox(client, chat, { from: name, userId: user }),
    ]),
  ];
}

/** @param {EventInfo} event */
const chatOf = ({ id }) => `chat:${id}`;

/**
 * Be in the event's rooms until the signal comes, over every reconnect; and keep count of who else is.
 *
 * @param {string} id
 * @param {string} chat
 * @param {Context['client']} client
 * @param {AbortSignal} signal
 * @param {(count: number) => void} onCount
 */
function stayIn(id, chat, client, signal, onCount) {
  const timeoutMs = Infinity;
  // a rejected join means that the client has ended, or that this user may not: then there is nothing to show
  client.joinEvent(id, { timeoutMs }).then(
    ({ userCount }) => signal.aborted || onCount(userCount),
    () => {},
  );
  client.joinRoom(chat, { timeoutMs }).catch(() => {});
  client.on('room-info', ({ eventId, userCount }) => eventId === id && onCount(userCount), { signal });
  signal.addEventListener('abort', () => {
    client.leaveEvent(id).catch(() => {});
    client.leaveRoom(chat).catch(() => {});
  });
}

/**
 * @param {string} sign
 * @param {string} title
 * @param {string} lead
 * @param {HTMLElement[]} children
 */
function panel(sign, title, lead, children) {
  const id = `panel-${sign}`;
  const head = h('header', {}, icon(sign), h('div', {}, h('h2', { id }, title), h('p', {}, lead)));
  return h('section', { class: 'panel', 'aria-labelledby': id }, head, ...children);
}

/** @param {EventInfo} event */
function prices({ sections = [] }) {
  const rows = sections.map(({ name, price, rows: count, seatsPerRow }) =>
    h(
      'li',
      {},
      h('b', {}, name),
      price == null ? '' : formatPrice(price),
      h('small', {}, t('seats', { count: count * seatsPerRow })),
    ),
  );
  return rows.length > 0 && h('ul', { class: 'prices' }, ...rows);
}

function noSuchEvent() {
  return placeholder({ sign: 'ticket', title: t('noEvent'), text: t('noEventLead'), heading: 'h1' });
}

/** The back end may publish any JSON. @param {any} data */
function readAnnouncement(data) {
  const text = typeof data === 'string' ? data : data?.text;
  return { text: typeof text === 'string' ? text : JSON.stringify(data) };
}

/**
 * Whoever may publish may write any name into the data: fit for small talk, not for anything that counts.
 *
 * @param {any} data
 * @param {string} user
 */
function readChat(data, user) {
  const from = typeof data?.from === 'string' ? data.from.slice(0, 64) : '';
  return { ...readAnnouncement(data), from, own: data?.userId === user };
}
