/** What this user holds: the seats, the sum, the time that is left, and what can be done about it. */

import { h, icon } from './dom.js';
import { formatPrice, t } from './i18n.js';
import { placesOf, priceOf } from './seat-plan.js';
import { clockText, every } from './ticker.js';

/** So long before the end the user is warned. */
const WARN_MS = 30_000;

/**
 * @param {object} options
 * @param {import('../keepseat/client.js').Client} options.client
 * @param {import('../keepseat/seats.js').Seats} options.seats
 * @param {import('./seat-plan.js').Plan} options.plan
 * @param {(work: () => Promise<unknown>) => void} options.run does it, and says what went wrong
 * @param {(held: string[]) => Promise<unknown>} options.pay
 * @param {AbortSignal} options.signal
 */
export function basket({ client, seats, plan, run, pay, signal }) {
  const heading = h('h3', { tabindex: '-1' }, t('yourSeats'));
  const list = h('ul', { class: 'held' });
  const sum = h('b', { class: 'sum' });
  const time = h('b', { role: 'timer', 'aria-label': t('timeLeft') });
  // in the document before its words are: only what is put into a live region is read out
  const warning = h('p', { role: 'alert' });
  const extend = button('secondary', 'clock', t('extend'), () => seats.extend());
  const box = h('div', { class: 'hold-warning' }, warning, extend);
  const payButton = button('primary', 'check', t('pay'), () => pay(seats.held));
  const releaseAll = button('quiet', 'close', t('releaseAll'), () => seats.release());
  const element = h(
    'section',
    { class: 'basket', hidden: true, 'aria-label': t('yourSeats') },
    h(
      'header',
      {},
      heading,
      sum,
      h('p', { class: 'time-left' }, icon('clock'), h('span', {}, t('timeLeft')), time),
    ),
    box,
    list,
    h('footer', {}, releaseAll, payButton),
  );

  let shown = '';

  /**
   * @param {string} kind
   * @param {string} sign
   * @param {string} words
   * @param {() => Promise<unknown>} work
   */
  function button(kind, sign, words, work) {
    const click = () => run(work);
    return h('button', { type: 'button', class: kind, click }, icon(sign), words);
  }

  function show() {
    // whatever else changes on the map leaves this list, and the focus in it, alone
    if (seats.held.join() !== shown) showHeld();
    tick();
  }

  function showHeld() {
    shown = seats.held.join();
    const hadFocus = list.contains(document.activeElement);
    list.replaceChildren(...seats.held.map(line));
    element.hidden = !seats.held.length;
    if (hadFocus) heading.focus();
    sum.textContent = t('sum', { price: formatPrice(total()) });
    sum.hidden = !seats.held.some((id) => plan.byId.get(id)?.price != null);
  }

  /** @param {string} id */
  function line(id) {
    const seat = plan.byId.get(id);
    const place = placesOf(plan, [id]);
    const click = () => run(() => seats.release([id]));
    const release = h(
      'button',
      { type: 'button', class: 'quiet', 'aria-label': t('releaseSeat', { place }), click },
      icon('close'),
    );
    return h(
      'li',
      {},
      h('span', {}, place),
      h('span', { class: 'price' }, priceOf(seat?.price ?? null)),
      release,
    );
  }

  const total = () => seats.held.reduce((all, id) => all + (plan.byId.get(id)?.price ?? 0), 0);

  function tick() {
    const left = seats.holdExpiresAt === null ? Infinity : seats.holdExpiresAt - client.serverNow();
    const isShort = left <= WARN_MS;
    if (left !== Infinity) time.textContent = clockText(left);
    box.classList.toggle('is-shown', isShort);
    extend.hidden = !isShort;
    // said once: a text that changes each second would never stop being read
    if (isShort !== warning.hasChildNodes()) warning.textContent = isShort ? t('holdEnds') : '';
  }

  seats.addEventListener('change', show, { signal });
  every(tick, signal);
  show();
  return element;
}
