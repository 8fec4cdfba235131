/** "What just happened": for developers who want to see a promise kept. Frames, rooms, and three ways to break things. */

import { h, icon } from '../dom.js';
import { formatClock, formatMs, formatNumber, t } from '../i18n.js';
import { levelText } from '../quality-meter.js';
import { breakers } from './breakers.js';

/** @typedef {import('./wire.js').Wire} Wire */
/** @typedef {import('./wire.js').Seen} Seen */

const SHOWN = 60;

/**
 * @param {object} options
 * @param {Wire} options.wire
 * @param {import('./positions.js').Positions} options.positions
 * @param {import('../../keepseat/client.js').Client} options.client
 * @param {boolean} options.mayKill
 * @param {AbortSignal} options.signal
 */
export function drawer({ wire, positions, client, mayKill, signal }) {
  const told = facts(['server', 'connection', 'quality', 'roundTrip', 'jitter', 'brokenLines']);
  const rooms = h('tbody');
  const frames = h('ol', { class: 'frames' });
  const panel = h(
    'section',
    { class: 'drawer', id: 'drawer', hidden: true, 'aria-labelledby': 'drawer-title' },
    h(
      'header',
      {},
      h('h2', { id: 'drawer-title', tabindex: '-1' }, t('tools')),
      h('button', { type: 'button', 'aria-label': t('close'), click: toggle }, icon('close')),
    ),
    h('p', {}, t('toolsLead'), ' ', h('a', { href: '/ops' }, t('opsLink'))),
    breakers({ wire, client, mayKill, signal }),
    told.element,
    h('h3', { id: 'rooms-title' }, t('roomOffsets')),
    h(
      'table',
      { 'aria-labelledby': 'rooms-title' },
      h('thead', {}, h('tr', {}, head(t('room')), head(t('epoch')), head(t('offset')))),
      rooms,
    ),
    h('h3', { id: 'frames-title' }, t('frames')),
    h('div', { class: 'frame-scroll', tabindex: '0', role: 'region', 'aria-labelledby': 'frames-title' }, frames),
  );
  const opener = h(
    'button',
    { type: 'button', class: 'drawer-opener', 'aria-expanded': 'false', 'aria-controls': 'drawer', click: toggle },
    icon('code'),
    h('span', {}, t('tools')),
  );
  let isWaiting = false;

  function toggle() {
    panel.hidden = !panel.hidden;
    opener.setAttribute('aria-expanded', String(!panel.hidden));
    show();
    if (panel.hidden) opener.focus();
    else document.getElementById('drawer-title')?.focus();
  }

  /** In a rush many frames come at once: they are shown once a turn of the screen. */
  function showSoon() {
    if (isWaiting || panel.hidden) return;
    isWaiting = true;
    requestAnimationFrame(() => {
      isWaiting = false;
      show();
    });
  }

  function show() {
    if (panel.hidden) return;
    told.show([client.connected?.instance ?? '–', client.state, ...qualityFigures(client.quality)]);
    rooms.replaceChildren(...positions.all().map(roomLine));
    frames.replaceChildren(...wire.frames.slice(-SHOWN).reverse().map(frameLine));
  }

  wire.addEventListener('frame', showSoon, { signal });
  client.on('state', showSoon, { signal });
  client.on('quality', showSoon, { signal });
  panel.addEventListener('keydown', ({ key }) => key === 'Escape' && toggle());
  return h('aside', { class: 'tools', 'aria-label': t('tools') }, panel, opener);
}

/** Names with their values, which come again and again. @param {import('../i18n.js').Key[]} keys */
function facts(keys) {
  const values = keys.map(() => h('dd'));
  const element = h('dl', {}, ...keys.map((key, i) => h('div', {}, h('dt', {}, t(key)), values[i])));
  return {
    element,
    show: (/** @type {string[]} */ texts) => texts.forEach((text, i) => (values[i].textContent = text)),
  };
}

/** @param {import('../../keepseat/types.js').QualityFigures} figures */
function qualityFigures({ level, p50Ms, p95Ms, jitterMs, reconnects }) {
  const [p50, p95, jitter] = [p50Ms, p95Ms, jitterMs].map((ms) => (ms === null ? '–' : formatMs(ms)));
  return [levelText(level), `${p50} · ${p95}`, jitter, formatNumber(reconnects)];
}

/** @param {string} text */
const head = (text) => h('th', { scope: 'col' }, text);

/** @param {[string, { epoch: string, offset: number }]} room */
function roomLine([name, { epoch, offset }]) {
  return h('tr', {}, h('th', { scope: 'row' }, name), h('td', {}, epoch.slice(0, 6)), h('td', {}, String(offset)));
}

/** @param {Seen} seen */
function frameLine({ way, at, type, text }) {
  return h(
    'li',
    { 'data-way': way },
    h('span', { class: 'visually-hidden' }, t(way === 'in' ? 'frameIn' : 'frameOut')),
    h('b', {}, type),
    h('time', {}, formatClock(at)),
    h('code', {}, text),
  );
}
