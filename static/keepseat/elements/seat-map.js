/**
 * `<seat-map>`: the seats of an event: the whole house to pan and zoom, a choice of sections where there are
 * several, and the open one as a grid for keys, fingers and readers of the screen. Give it `seating`, as
 * `GET /events/<id>` tells it, and `seats`, such as `client.seats('123')`; it opens no socket. Properties,
 * attributes and events: `docs/elements.md`.
 */

import { h } from './build.js';
import { house } from './house.js';
import { SEAT_MAP_LABELS } from './labels.js';
import { seatGrid } from './seat-grid.js';
import { STYLE } from './seat-map-style.js';
import { planOf } from './seat-plan.js';

/** @typedef {import('./seat-plan.js').Block} Block */
/** @typedef {import('./seat-plan.js').Seat} Seat */
/** @typedef {import('./house-paint.js').SeatState} SeatState */

/**
 * @typedef {object} SeatStates what the element reads of seats; `client.seats(id)` is one
 * @property {(id: string) => SeatState} stateOf
 * @property {Iterable<string>} taken the ids of all that are not available
 */

export class SeatMap extends HTMLElement {
  #labels = SEAT_MAP_LABELS;
  #plan = planOf({});
  /** @type {(SeatStates & EventTarget) | null} */
  #seats = null;
  #life = new AbortController();
  /** @type {ReturnType<typeof parts> | null} */
  #parts = null;

  constructor() {
    super();
    this.attachShadow({ mode: 'open' }).adoptedStyleSheets = [STYLE];
  }

  connectedCallback() {
    this.#draw();
  }

  disconnectedCallback() {
    this.#life.abort();
  }

  /** The sections, or else the ids, of the seats that there are. @param {import('./seat-plan.js').Seating} seating */
  set seating(seating) {
    this.#plan = planOf(seating);
    this.#draw();
  }

  get seats() {
    return this.#seats;
  }

  /** Who knows the state of each; read again with each `change` that it dispatches. */
  set seats(seats) {
    this.#seats = seats;
    this.#draw();
  }

  get labels() {
    return this.#labels;
  }

  /** The words, those that are to be others than the English ones. */
  set labels(labels) {
    this.#labels = { ...SEAT_MAP_LABELS, ...labels };
    this.#draw();
  }

  /** Show a seat, in whichever section it is, and let the arrow keys begin there. @param {string} id */
  reveal(id) {
    this.#parts?.reveal(id);
  }

  #draw() {
    if (!this.isConnected) return;
    this.#life.abort();
    this.#life = new AbortController();
    const { signal } = this.#life;
    if (!this.#plan.blocks.length) {
      this.#parts = null;
      this.shadowRoot?.replaceChildren();
      return;
    }
    const seats = this.#seats;
    const shown = parts({
      plan: this.#plan,
      labels: this.#labels,
      stateOf: (id) => seats?.stateOf(id) ?? 'available',
      taken: () => seats?.taken ?? [],
      onPress: (seat) => this.#tell('seat-press', { seat }),
      onOpen: ({ name }) => this.#tell('section-open', { section: name }),
    });
    this.#parts = shown;
    this.shadowRoot?.replaceChildren(...shown.elements);
    shown.listen(signal);
    seats?.addEventListener('change', (event) => shown.paint(/** @type {CustomEvent} */ (event).detail.seats), {
      signal,
    });
  }

  /**
   * @param {string} type
   * @param {object} detail
   */
  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail, bubbles: true, composed: true }));
  }
}

/**
 * @param {object} options
 * @param {import('./seat-plan.js').Plan} options.plan
 * @param {typeof SEAT_MAP_LABELS} options.labels
 * @param {(id: string) => SeatState} options.stateOf
 * @param {() => Iterable<string>} options.taken
 * @param {(seat: Seat) => void} options.onPress
 * @param {(block: Block) => void} options.onOpen
 */
function parts({ plan, labels, stateOf, taken, onPress, onOpen }) {
  const { blocks, byId } = plan;
  const place = h('div', { class: 'seat-scroll', part: 'grid' });
  const tabs = blocks.map((block) => sectionButton(block, labels, () => open(block)));
  const buttons = tabs.map((tab) => tab.element);
  const sections = h('div', { class: 'sections', role: 'group', 'aria-label': labels.sections }, ...buttons);
  sections.hidden = tabs.length < 2;
  const whole = house({ blocks, labels, stateOf, onPress, onOpen: open });
  /** @type {Block | undefined} */
  let shown;
  /** @type {import('./seat-grid.js').SeatGrid} */
  let grid;
  let isCounting = false;

  /** @param {Block} block */
  function open(block) {
    if (block === shown) return;
    if (shown) onOpen(block);
    shown = block;
    grid = seatGrid({ block, labels, stateOf, onPress, onFocus: whole.mark });
    place.replaceChildren(grid.element);
    place.scrollTo(0, 0);
    blocks.forEach((other, i) => buttons[i].setAttribute('aria-pressed', String(other === block)));
    whole.open(block);
  }

  /** @param {string} id */
  function reveal(id) {
    const block = blocks.find(({ name }) => name === byId.get(id)?.section);
    if (!block) return;
    open(block);
    grid.reveal(id);
  }

  /** Sections are counted once a frame: in a rush many changes come at once. */
  function countSoon() {
    if (isCounting || sections.hidden) return;
    isCounting = true;
    requestAnimationFrame(() => {
      isCounting = false;
      count();
    });
  }

  function count() {
    const free = new Map(blocks.map((block) => [block.name, block.count]));
    for (const id of taken()) {
      const section = byId.get(id)?.section ?? '';
      free.set(section, (free.get(section) ?? 0) - 1);
    }
    blocks.forEach(({ name }, i) => tabs[i].show(free.get(name) ?? 0));
  }

  open(blocks[0]);
  count();
  return {
    elements: [whole.element, sections, legend(labels), place],
    listen: whole.listen,
    reveal,
    /** @param {string[] | null} ids */
    paint(ids) {
      grid.paint(ids);
      whole.paintSoon();
      countSoon();
    },
  };
}

/**
 * @param {Block} block
 * @param {typeof SEAT_MAP_LABELS} labels
 * @param {() => void} click
 */
function sectionButton({ name, price }, labels, click) {
  const free = h('small');
  const element = h(
    'button',
    { type: 'button', class: 'section', 'aria-pressed': 'false', click },
    h('b', {}, name || labels.others),
    price !== null && h('span', {}, labels.price(price)),
    free,
  );
  return { element, show: (/** @type {number} */ count) => (free.textContent = labels.free(count)) };
}

/** Each kind of seat beside its word; readers of the screen hear the word from each seat. @param {typeof SEAT_MAP_LABELS} labels */
function legend(labels) {
  const kinds = /** @type {const} */ (['available', 'own', 'held', 'sold']);
  const lines = kinds.map((state) =>
    h('span', {}, h('i', { class: 'seat', 'data-state': state }), h('b', {}, labels[state])),
  );
  return h('div', { class: 'legend', 'aria-hidden': 'true' }, ...lines);
}
