/**
 * The waiting room: a dialog over the event, for as long as the user waits and wants to see it. What was last known
 * stays on screen while the line is down, and says that it is that.
 */

import { dress, showChange } from './connection-banner.js';
import { h, icon } from './dom.js';
import { errorText, formatDate, formatSeconds, t } from './i18n.js';
import { watchLive } from './liveness.js';

/** @typedef {import('../keepseat/queue.js').Queue} Queue */

/**
 * @param {object} options
 * @param {import('./event-list.js').EventInfo} options.event
 * @param {import('../keepseat/client.js').Client} options.client
 * @param {Queue} options.queue
 * @param {() => void} options.onClosed
 * @param {AbortSignal} options.signal
 */
export function waitingRoom({ event, client, queue, onClosed, signal }) {
  const place = board(queue);
  const opening = h('p', { class: 'opening' });
  const live = h('p', { class: 'live', role: 'status' });
  const trouble = h('div', { role: 'alert' });
  const leave = h('button', { type: 'button', class: 'danger', click: giveUp }, t('leaveQueue'));
  const banner = h('connection-status', { state: client.state, retry: () => client.reconnect() });
  const heading = h('h2', { id: 'waiting-room', tabindex: '-1' }, t('waitingRoom'));
  const dialog = /** @type {HTMLDialogElement} */ (
    h(
      'dialog',
      { class: 'waiting-room', 'aria-labelledby': 'waiting-room', close: onClosed },
      h('header', {}, heading, h('p', {}, event.title), live),
      banner,
      trouble,
      opening,
      place.element,
      promises(),
      h(
        'footer',
        {},
        leave,
        h('button', { type: 'button', class: 'secondary', click: close }, t('hideQueue')),
      ),
    )
  );

  function show() {
    place.show();
    const isEarly = event.startsAt !== null && client.serverNow() < event.startsAt;
    opening.textContent = isEarly ? t('saleOpens', { date: formatDate(event.startsAt ?? 0) }) : '';
  }

  /** @param {boolean} isLive */
  function showLive(isLive) {
    dialog.dataset.live = String(isLive);
    live.textContent = t(isLive ? 'live' : 'lastKnown');
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
  signal.addEventListener('abort', close);
  return { element: dialog, open, close };
}

/** The figures. @param {Queue} queue */
function board(queue) {
  const position = h('b');
  const way = /** @type {HTMLProgressElement} */ (h('progress', { 'aria-label': t('wayToFront') }));
  const total = h('dd');
  const eta = h('dd');
  const available = h('dd');
  const free = h('div', {}, h('dt', {}, t('seatsFree')), available);
  const element = h(
    'div',
    { class: 'board' },
    h('p', { class: 'position' }, h('span', {}, t('yourPosition')), position),
    way,
    h(
      'dl',
      {},
      h('div', {}, h('dt', {}, t('peopleInLine')), total),
      h('div', {}, h('dt', {}, t('estimatedWait')), eta),
      free,
    ),
  );

  function show() {
    const { position: at, firstPosition: first } = queue;
    element.hidden = at === null || first === null;
    if (at === null || first === null) return;
    position.textContent = t('number', { count: at });
    way.max = Math.max(1, first - 1);
    way.value = Math.max(0, first - at) || (at === 1 ? way.max : 0);
    total.textContent = t('number', { count: queue.total ?? 0 });
    eta.textContent = queue.etaSeconds === null ? t('waitUnknown') : formatSeconds(queue.etaSeconds);
    free.hidden = queue.available === null;
    available.textContent = t('number', { count: queue.available ?? 0 });
  }

  return { element, show };
}

/** What happens to the place, said before one has to wonder. */
function promises() {
  return h(
    'ul',
    { class: 'promises' },
    h('li', {}, icon('check'), h('span', {}, t('ifClosed'))),
    h('li', {}, icon('check'), h('span', {}, t('ifAway'))),
    h('li', {}, icon('warning'), h('span', {}, t('ifLeft'))),
  );
}
