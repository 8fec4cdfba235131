/** The figures: the sums in large, each with its last minutes as a line, and two tables of what they are sums of. */

import { h, icon } from '../dom.js';
import { formatClock, formatNumber, t } from '../i18n.js';
import { sparkline } from './sparkline.js';

/** @typedef {import('./overview.js').Overview} Overview */
/** @typedef {'connections' | 'restores' | 'waiting' | 'admitted' | 'held' | 'sold'} Sum */

/** @type {[Sum, import('../i18n.js').Key][]} */
const SUMS = [
  ['connections', 'opsConnections'],
  ['restores', 'opsRestores'],
  ['waiting', 'opsWaiting'],
  ['admitted', 'opsAdmitted'],
  ['held', 'opsHeld'],
  ['sold', 'opsSold'],
];

export function board() {
  const tiles = SUMS.map(([name, key]) => tile(name, key));
  const servers = table('opsServers', [
    'server',
    'opsConnections',
    'opsRestores',
    'opsRecovered',
    'opsReset',
  ]);
  const events = table('opsEvents', ['event', 'opsWaiting', 'opsAdmitted', 'opsHeld', 'opsSold', 'opsFree']);
  const asOf = h('p', { class: 'hint' });
  const trouble = h('div', { role: 'alert' });
  const element = h(
    'section',
    { class: 'ops' },
    h('h1', { class: 'visually-hidden' }, t('ops')),
    trouble,
    h('dl', { class: 'tiles' }, ...tiles.map((one) => one.element)),
    servers.element,
    events.element,
    asOf,
  );

  return {
    element,

    /** @param {Overview} overview */
    show(overview) {
      trouble.replaceChildren();
      tiles.forEach((one) => one.show(overview));
      servers.show(overview.servers.map((s) => [s.instance, s.connections, s.restores, s.recovered, s.reset]));
      events.show(
        overview.events.map((e) => [
          e.paused ? `${e.title} · ${t('opsPaused')}` : e.title,
          e.waiting,
          e.admitted,
          e.held,
          e.sold,
          e.available ?? '–',
        ]),
      );
      asOf.textContent = t('opsAsOf', { time: formatClock(Date.now()) });
    },

    /** What is shown is of before. */
    complain() {
      if (trouble.hasChildNodes()) return;
      trouble.append(h('p', { class: 'trouble' }, icon('warning'), t('opsTrouble')));
    },
  };
}

/**
 * @param {Sum} name
 * @param {import('../i18n.js').Key} key
 */
function tile(name, key) {
  const value = h('b', {}, '–');
  const line = sparkline();
  return {
    element: h('div', { class: 'tile' }, h('dt', {}, t(key)), h('dd', {}, value, line.element)),
    show(/** @type {Overview} */ overview) {
      value.textContent = formatNumber(overview[name]);
      line.add(overview[name]);
    },
  };
}

/**
 * @param {import('../i18n.js').Key} title
 * @param {import('../i18n.js').Key[]} columns
 */
function table(title, columns) {
  const body = h('tbody');
  const heads = columns.map((key) => h('th', { scope: 'col' }, t(key)));
  const element = h(
    'div',
    { class: 'table', role: 'region', tabindex: '0', 'aria-label': t(title) },
    h('table', {}, h('caption', {}, t(title)), h('thead', {}, h('tr', {}, ...heads)), body),
  );
  return {
    element,
    show(/** @type {(string | number)[][]} */ lines) {
      body.replaceChildren(...lines.map(line));
    },
  };
}

/** @param {(string | number)[]} cells */
function line([first, ...rest]) {
  const shown = rest.map((cell) => h('td', {}, typeof cell === 'number' ? formatNumber(cell) : cell));
  return h('tr', {}, h('th', { scope: 'row' }, String(first)), ...shown);
}
