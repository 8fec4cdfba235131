/** The whole house at a glance, to pan and to zoom; what it shows stands in the grid beside it, for keys and readers. */

import { h } from './build.js';
import { layOut } from './house-layout.js';
import { paintHouse } from './house-paint.js';
import { HouseView } from './house-view.js';

/** @typedef {import('./seat-plan.js').Block} Block */
/** @typedef {import('./seat-plan.js').Seat} Seat */
/** @typedef {import('./house-layout.js').Spot} Spot */
/** @typedef {typeof import('./labels.js').SEAT_MAP_LABELS} Labels */

/** From this size on a finger can tell one seat from the next. */
const PRESSED_FROM_PX = 15;

/** The custom properties that it is drawn with, and their colours where nobody sets them. */
const INKS = {
  seat: ['--accent', '#5130d4'],
  own: ['--spot', '#ffb38a'],
  line: ['--line', '#dddddd'],
  ink: ['--ink', '#1a1524'],
  soft: ['--ink-soft', '#5b5466'],
  ground: ['--surface', '#ffffff'],
};

/**
 * @param {object} options
 * @param {Block[]} options.blocks
 * @param {Labels} options.labels
 * @param {(id: string) => import('./house-paint.js').SeatState} options.stateOf
 * @param {(seat: Seat) => void} options.onPress
 * @param {(block: Block) => void} options.onOpen
 */
export function house({ blocks, labels, stateOf, onPress, onOpen }) {
  const layout = layOut(blocks);
  const canvas = /** @type {HTMLCanvasElement} */ (h('canvas', { 'aria-hidden': 'true' }));
  const view = new HouseView(canvas, layout.house, { onChange: paintSoon, onPress: press });
  const tools = [
    button('+', labels.zoomIn, () => view.zoom(1)),
    button('−', labels.zoomOut, () => view.zoom(-1)),
    button('⤢', labels.whole, () => view.showAll()),
  ];
  const element = h('div', { class: 'house', part: 'house' }, canvas, h('div', { class: 'zoom' }, ...tools));
  let open = blocks[0];
  /** @type {Spot | null} */
  let marked = null;
  let isWaiting = false;

  /** In a rush many changes come at once: they are drawn once a frame. */
  function paintSoon() {
    if (isWaiting) return;
    isWaiting = true;
    requestAnimationFrame(() => {
      isWaiting = false;
      if (canvas.isConnected) paint();
    });
  }

  function paint() {
    const nameOf = (/** @type {Block} */ { name }) => name || labels.others;
    paintHouse(canvas, inksOf(canvas), {
      layout,
      view,
      stateOf,
      marked,
      open,
      nameOf,
      stage: labels.stage,
    });
  }

  /**
   * @param {number} x
   * @param {number} y
   */
  function press(x, y) {
    const spot = layout.spots.find((at) => Math.abs(at.x - x) <= 0.5 && Math.abs(at.y - y) <= 0.5);
    if (spot && view.scale >= PRESSED_FROM_PX) {
      onOpen(spot.block);
      onPress(spot.seat);
      return;
    }
    const [block, box] =
      [...layout.boxes].find(
        ([, { left, top, width, height }]) =>
          x >= left && x <= left + width && y >= top && y <= top + height,
      ) ?? [];
    if (!block || !box) return;
    onOpen(block);
    view.show(box);
  }

  return {
    element,
    paintSoon,

    /** Follow the size of its place and the colours of the page, until the signal comes. @param {AbortSignal} signal */
    listen(signal) {
      view.listen(signal);
      const resized = new ResizeObserver(() => view.showAll());
      resized.observe(canvas);
      signal.addEventListener('abort', () => resized.disconnect());
      matchMedia('(prefers-color-scheme: dark)').addEventListener('change', paintSoon, { signal });
    },

    /** @param {Block} block */
    open(block) {
      open = block;
      paintSoon();
    },

    /** Where the keyboard is; null: nowhere. @param {string | null} id */
    mark(id) {
      marked = layout.spots.find(({ seat }) => seat.id === id) ?? null;
      paintSoon();
    },
  };
}

/**
 * @param {string} sign
 * @param {string} label
 * @param {() => void} click
 */
function button(sign, label, click) {
  const shown = h('span', { 'aria-hidden': 'true' }, sign);
  return h('button', { type: 'button', 'aria-label': label, title: label, click }, shown);
}

/** @param {Element} element */
function inksOf(element) {
  const style = getComputedStyle(element);
  const inks = Object.entries(INKS).map(([name, [property, fallback]]) => [
    name,
    style.getPropertyValue(property).trim() || fallback,
  ]);
  return /** @type {import('./house-paint.js').Inks} */ ({
    ...Object.fromEntries(inks),
    font: style.fontFamily,
  });
}
