/**
 * The waiting room: a dialog over the event, for as long as the user waits and wants to see it. What was last known
 * stays on screen while the line is down, and says that it is that.
 */

import { dress, showChange } from './connection-banner.js';
import { h, icon } from './dom.js';
import { errorText, formatDate, formatNumber, formatSeconds, t } from './i18n.js';
import { watchLive } from './liveness.js';

/** @typedef {import('../keepseat/queue.js').Queue} Queue */
/** @typedef {import('../keepseat/elements/waiting-room.js').WaitingRoom} WaitingRoom */

/**
 * @param {object} options
 * @param {import('./event-list.js').EventInfo} options.event
 * @param {import('../keepseat/client.js').Client} options.client
 * @param {Queue} options.queue
 * @param {() => void} options.onClosed
 * @param {AbortSignal} options.signal
 */
export function waitingRoom({ event, client, queue, onClosed, signal }) {
  const opening = h('p', { class: 'opening' });
  const trouble = h('div', { role: 'alert' });
  const banner = h('connection-status', { state: client.state, retry: () => client.reconnect() });
  const heading = h('h2', { id: 'waiting-room', tabindex: '-1' }, t('waitingRoom'));
  const place = /** @type {WaitingRoom} */ (h('waiting-room', { leave: giveUp, hide: close }));
  place.labels = labels();
  place.queue = queue;
  const dialog = /** @type {HTMLDialogElement} */ (
    h(
      'dialog',
      { class: 'waiting', 'aria-labelledby': 'waiting-room', close: onClosed },
      h('header', {}, heading, h('p', {}, event.title)),
      banner,
      trouble,
      opening,
      place,
    )
  );

  function show() {
    const isEarly = event.startsAt !== null && client.serverNow() < event.startsAt;
    opening.textContent = isEarly ? t('saleOpens', { date: formatDate(event.startsAt ?? 0) }) : '';
  }

  /** @param {boolean} isLive */
  function showLive(isLive) {
    place.toggleAttribute('live', isLive);
  }

  async function open() {
    if (dialog.open || !dialog.isConnected) return;
    trouble.replaceChildren();
    show();
    dialog.showModal();
    // rather than on the first button: what this is gets read out, and no key gives the place up by mistake
    heading.focus();
    // who waits already keeps the place; this also says how things stand now
    await attempt(() => queue.join({ timeoutMs: Infinity }));
  }

  function close() {
    dialog.close();
  }

  async function giveUp() {
    await attempt(() => queue.leave());
  }

  /** @param {() => Promise<unknown>} work */
  async function attempt(work) {
    try {
      await work();
    } catch (error) {
      const reason = t('failed', { reason: errorText(/** @type {{ code: string }} */ (error).code) });
      trouble.replaceChildren(h('p', { class: 'trouble' }, icon('warning'), reason));
    }
  }

  dress(banner);
  client.on('state', (change) => showChange(banner, change), { signal });
  watchLive(client, showLive, signal);
  queue.addEventListener(
    'change',
    () => {
      if (queue.status === 'waiting') show();
      else close();
    },
    { signal },
  );
  signal.addEventListener('abort', () => {
    place.queue = null;
    close();
  });
  return { element: dialog, open, close };
}

/** The words of `<waiting-room>`. */
const labels = () => ({
  position: t('yourPosition'),
  way: t('wayToFront'),
  total: t('peopleInLine'),
  eta: t('estimatedWait'),
  unknown: t('waitUnknown'),
  available: t('seatsFree'),
  live: t('live'),
  lastKnown: t('lastKnown'),
  leave: t('leaveQueue'),
  hide: t('hideQueue'),
  promises: [t('ifClosed'), t('ifAway'), t('ifLeft')],
  number: formatNumber,
  seconds: formatSeconds,
});
