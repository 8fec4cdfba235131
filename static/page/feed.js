/** A room's messages: the newest at the foot and in sight, unless the reader has scrolled up. */

import { h, icon } from './dom.js';
import { formatTime, t } from './i18n.js';

/** As many as the history keeps. */
const SHOWN = 50;
const AT_FOOT_PX = 48;

/** @typedef {import('./history.js').Item} Item */

/**
 * @param {object} options
 * @param {import('./history.js').History} options.history
 * @param {string} options.room
 * @param {string} options.label
 * @param {string} options.empty what to say while there is nothing
 * @param {(data: any) => { from?: string, text: string, own?: boolean }} options.read
 * @param {AbortSignal} options.signal
 */
export function feed({ history, room, label, empty, read, signal }) {
  const hint = h('li', { class: 'hint' }, empty);
  const list = h('ol', { class: 'messages' });
  const newest = h(
    'button',
    { type: 'button', class: 'newest', hidden: true, click: toFoot },
    icon('down'),
    t('newest'),
  );
  const log = h(
    'div',
    { class: 'scroll', role: 'log', 'aria-label': label, tabindex: '0', scroll: update },
    list,
  );

  const isAtFoot = () => log.scrollHeight - log.scrollTop - log.clientHeight < AT_FOOT_PX;

  function toFoot() {
    log.scrollTop = log.scrollHeight;
  }

  function update() {
    if (isAtFoot()) newest.hidden = true;
  }

  /** @param {Item} item */
  function add(item) {
    const follow = isAtFoot();
    hint.remove();
    list.append('gap' in item ? h('li', { class: 'gap' }, icon('warning'), t('gap')) : line(item));
    while (list.children.length > SHOWN) list.firstElementChild?.remove();
    if (follow) toFoot();
    else newest.hidden = false;
  }

  /** @param {import('./history.js').Entry} entry */
  function line({ data, sentAt }) {
    const { from, text, own = false } = read(data);
    const head = h(
      'span',
      { class: 'from' },
      from && h('b', {}, from),
      h('time', { datetime: new Date(sentAt).toISOString() }, formatTime(sentAt)),
    );
    return h('li', { class: own ? 'message own' : 'message' }, head, h('p', {}, text));
  }

  list.append(hint);
  history.of(room).forEach(add);
  history.addEventListener(room, (event) => add(/** @type {CustomEvent<Item>} */ (event).detail), { signal });
  // not laid out yet: there is no foot to go to before the page has taken it in
  requestAnimationFrame(toFoot);
  return h('div', { class: 'feed' }, log, newest);
}
