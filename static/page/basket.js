/** What this user holds: the seats, the sum, the time that is left, and what can be done about it. */

import { h, icon } from './dom.js';
import { t } from './i18n.js';
import { placesOf, sumOf } from './seat-plan.js';

/** @typedef {import('../keepseat/elements/hold-countdown.js').HoldCountdown} HoldCountdown */

/** So long before the end the user is warned. */
const WARN_SECONDS = 30;

/**
 * @param {object} options
 * @param {import('../keepseat/client.js').Client} options.client
 * @param {import('../keepseat/seats.js').Seats} options.seats
 * @param {import('../keepseat/elements/seat-plan.js').Plan} options.plan
 * @param {(work: () => Promise<unknown>) => void} options.run does it, and says what went wrong
 * @param {(held: string[]) => Promise<unknown>} options.pay
 * @param {AbortSignal} options.signal
 */
export function basket({ client, seats, plan, run, pay, signal }) {
  const heading = h('h3', { tabindex: '-1' }, t('yourSeats'));
  const list = h('ul', { class: 'held' });
  const sum = h('b', { class: 'sum' });
  const time = /** @type {HoldCountdown} */ (
    h('hold-countdown', {
      'aria-label': t('timeLeft'),
      'warn-seconds': WARN_SECONDS,
      warn: () => showWarning(true),
    })
  );
  time.now = () => client.serverNow();
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
      h('p', { class: 'time-left' }, h('span', {}, t('timeLeft')), time),
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
    const end = seats.holdExpiresAt === null ? '' : String(seats.holdExpiresAt);
    if ((time.getAttribute('expires-at') ?? '') === end) return;
    showWarning(false);
    if (end) time.setAttribute('expires-at', end);
    else time.removeAttribute('expires-at');
  }

  /** Said once: a text that changes each second would never stop being read. @param {boolean} isShort */
  function showWarning(isShort) {
    box.classList.toggle('is-shown', isShort);
    extend.hidden = !isShort;
    warning.textContent = isShort ? t('holdEnds') : '';
  }

  function showHeld() {
    shown = seats.held.join();
    const hadFocus = list.contains(document.activeElement);
    list.replaceChildren(...seats.held.map(line));
    element.hidden = !seats.held.length;
    if (hadFocus) heading.focus();
    const price = sumOf(plan, seats.held);
    sum.textContent = price && t('sum', { price });
    sum.hidden = !price;
  }

  /** @param {string} id */
  function line(id) {
    const place = placesOf(plan, [id]);
    const click = () => run(() => seats.release([id]));
    const release = h(
      'button',
      { type: 'button', class: 'quiet', 'aria-label': t('releaseSeat', { place }), click },
      icon('close'),
    );
    return h('li', {}, h('span', {}, place), release);
  }

  seats.addEventListener('change', show, { signal });
  showWarning(false);
  show();
  return element;
}
