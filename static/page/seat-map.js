/** All seats of an event: a choice of sections where there are several, and the open one as a grid. */

import { h } from './dom.js';
import { t } from './i18n.js';
import { seatGrid } from './seat-grid.js';
import { priceOf } from './seat-plan.js';

/** @typedef {import('./seat-plan.js').Block} Block */

/**
 * @param {object} options
 * @param {import('./seat-plan.js').Plan} options.plan
 * @param {import('../keepseat/seats.js').Seats} options.seats
 * @param {(seat: import('./seat-plan.js').Seat) => void} options.onPress
 * @param {AbortSignal} options.signal
 */
export function seatMap({ plan, seats, onPress, signal }) {
  const place = h('div', { class: 'seat-scroll' });
  const tabs = plan.blocks.map((block) => sectionButton(block, () => open(block)));
  const sections = h(
    'div',
    { class: 'sections', role: 'group', 'aria-label': t('sections') },
    ...tabs.map((tab) => tab.element),
  );
  sections.hidden = tabs.length < 2;
  const element = h(
    'div',
    { class: 'seat-map' },
    sections,
    legend(),
    h('p', { class: 'stage', 'aria-hidden': 'true' }, t('stage')),
    place,
  );
  /** @type {Block} */
  let shown;
  /** @type {import('./seat-grid.js').SeatGrid} */
  let grid;
  let isCounting = false;

  /** @param {Block} block */
  function open(block) {
    shown = block;
    const label = block.name ? t('seatsOfSection', { section: block.name }) : t('allSeats');
    grid = seatGrid({ block, label, stateOf: (id) => seats.stateOf(id), onPress });
    place.replaceChildren(grid.element);
    place.scrollTo(0, 0);
    plan.blocks.forEach((other, i) => tabs[i].element.setAttribute('aria-pressed', String(other === block)));
  }

  /** Show a seat, in whichever section it is. @param {string} id */
  function reveal(id) {
    const block = plan.blocks.find(({ name }) => name === plan.byId.get(id)?.section);
    if (!block) return;
    if (block !== shown) open(block);
    grid.reveal(id);
  }

  /** Sections are counted once a frame: in a rush many changes come at once. */
  function countSoon() {
    if (isCounting || sections.hidden) return;
    isCounting = true;
    requestAnimationFrame(() => {
      isCounting = false;
      if (!signal.aborted) count();
    });
  }

  function count() {
    const free = new Map(plan.blocks.map((block) => [block.name, block.count]));
    for (const id of seats.taken) {
      const section = plan.byId.get(id)?.section ?? '';
      free.set(section, (free.get(section) ?? 0) - 1);
    }
    plan.blocks.forEach(({ name }, i) => tabs[i].show(free.get(name) ?? 0));
  }

  open(plan.blocks[0]);
  count();
  seats.addEventListener(
    'change',
    (event) => {
      grid.paint(/** @type {CustomEvent} */ (event).detail.seats);
      countSoon();
    },
    { signal },
  );
  return { element, reveal };
}

/**
 * @param {Block} block
 * @param {() => void} click
 */
function sectionButton({ name, price }, click) {
  const free = h('small');
  const element = h(
    'button',
    { type: 'button', class: 'section', 'aria-pressed': 'false', click },
    h('b', {}, name || t('otherSeats')),
    price !== null && h('span', {}, priceOf(price)),
    free,
  );
  return { element, show: (/** @type {number} */ count) => (free.textContent = t('free', { count })) };
}

/** Each kind of seat beside its word; readers of the screen hear the word from each seat. */
function legend() {
  const kinds = /** @type {const} */ ([
    ['available', 'legendAvailable'],
    ['own', 'legendOwn'],
    ['held', 'legendHeld'],
    ['sold', 'legendSold'],
  ]);
  return h(
    'div',
    { class: 'legend', 'aria-hidden': 'true' },
    ...kinds.map(([state, key]) => h('span', {}, h('i', { class: 'seat', 'data-state': state }), t(key))),
  );
}
