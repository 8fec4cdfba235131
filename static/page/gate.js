/** What stands between a user and the seats: the opening of the sale, and the waiting room. */

import { clockText } from '../keepseat/elements/hold-countdown.js';
import { h, icon } from './dom.js';
import { formatDate, t } from './i18n.js';
import { every } from './ticker.js';

/** @typedef {'soon' | 'none' | 'waiting' | 'admitted' | 'open'} Phase */

/**
 * @param {object} options
 * @param {import('./event-list.js').EventInfo} options.event
 * @param {import('../keepseat/client.js').Client} options.client
 * @param {import('../keepseat/queue.js').Queue} options.queue
 * @param {() => void} options.onEnter the user wants to go to the waiting room
 * @param {(work: () => Promise<unknown>) => void} options.run
 * @param {(phase: Phase) => void} options.onPhase
 * @param {AbortSignal} options.signal
 */
export function gate({ event, client, queue, onEnter, run, onPhase, signal }) {
  const words = h('p');
  const enter = h(
    'button',
    { type: 'button', class: 'primary', click: onEnter },
    icon('people'),
    t('enterQueue'),
  );
  const giveUp = h('button', { type: 'button', class: 'quiet', click: () => run(leave) }, t('giveUpTurn'));
  const element = h('div', { class: 'gate' }, icon('ticket'), words, enter, giveUp);
  /** @type {Phase | undefined} */
  let shown;

  const isEarly = () => event.startsAt !== null && client.serverNow() < event.startsAt;

  /** @returns {Phase} */
  function phase() {
    if (event.waitingRoom) return queue.status;
    return isEarly() ? 'soon' : 'open';
  }

  async function leave() {
    await queue.leave();
    enter.focus();
  }

  function show() {
    const now = phase();
    setText(words, sentence(now));
    if (now === shown) return;
    shown = now;
    element.hidden = now === 'open';
    element.dataset.phase = now;
    enter.hidden = now !== 'none' && now !== 'waiting';
    enter.lastChild?.replaceWith(t(now === 'waiting' ? 'showQueue' : 'enterQueue'));
    giveUp.hidden = now !== 'admitted';
    onPhase(now);
  }

  /** @param {Phase} now */
  function sentence(now) {
    switch (now) {
      case 'soon':
        return t('saleOpens', { date: formatDate(event.startsAt ?? 0) });
      case 'none':
        return isEarly() ? t('queueLeadEarly', { date: formatDate(event.startsAt ?? 0) }) : t('queueLead');
      case 'waiting':
        return t('inLine', { position: queue.position ?? 0 });
      case 'admitted':
        return queue.expiresAt === null
          ? t('yourTurn')
          : t('yourTurnUntil', { time: clockText(queue.expiresAt - client.serverNow()) });
      case 'open':
        return '';
    }
  }

  queue.addEventListener('change', show, { signal });
  every(show, signal);
  return { element, focus: () => (enter.hidden ? giveUp : enter).focus() };
}

/**
 * @param {HTMLElement} element
 * @param {string} text
 */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
