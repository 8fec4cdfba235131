/**
 * The seats of one section as a grid to walk through by keys (the ARIA grid pattern): one stop for the tab key,
 * arrows between the seats, Enter or Space on one.
 */

import { h } from './build.js';

/** @typedef {import('./seat-plan.js').Seat} Seat */
/** @typedef {import('./house-paint.js').SeatState} SeatState */
/** @typedef {typeof import('./labels.js').SEAT_MAP_LABELS} Labels */
/** @typedef {{ element: HTMLElement, paint: (ids: string[] | null) => void, reveal: (id: string) => void }} SeatGrid */

/** Where a key leads from a row and column. @type {Record<string, (row: number, column: number) => [number, number]>} */
const STEPS = {
  ArrowLeft: (row, column) => [row, column - 1],
  ArrowRight: (row, column) => [row, column + 1],
  ArrowUp: (row, column) => [row - 1, column],
  ArrowDown: (row, column) => [row + 1, column],
  Home: (row) => [row, 0],
  End: (row) => [row, Infinity],
  'Ctrl+Home': () => [0, 0],
  'Ctrl+End': () => [Infinity, Infinity],
};

/**
 * @param {object} options
 * @param {import('./seat-plan.js').Block} options.block
 * @param {Labels} options.labels
 * @param {(id: string) => SeatState} options.stateOf
 * @param {(seat: Seat) => void} options.onPress
 * @param {(id: string | null) => void} options.onFocus the seat that has the focus, null where none has
 * @returns {SeatGrid}
 */
export function seatGrid({ block, labels, stateOf, onPress, onFocus }) {
  /** @type {Map<string, { cell: HTMLElement, seat: Seat, row: number, column: number }>} */
  const places = new Map();
  let current = block.rows[0][0].id;

  const rows = block.rows.map((seats, row) =>
    h(
      'div',
      { role: 'row', class: 'seat-row' },
      h(
        'span',
        { role: 'rowheader', class: 'row-name', 'aria-label': labels.row(seats[0].row) },
        seats[0].row,
      ),
      ...seats.map((seat, column) => {
        // the number is drawn by the style: as text it would be a second name beside the spoken one
        const place = { 'data-id': seat.id, 'data-number': seat.number };
        const cell = h('span', { role: 'gridcell', class: 'seat', tabindex: '-1', ...place });
        places.set(seat.id, { cell, seat, row, column });
        return cell;
      }),
    ),
  );
  const element = h(
    'div',
    {
      role: 'grid',
      class: 'seat-grid',
      'aria-label': block.name ? labels.grid(block.name) : labels.all,
      'aria-multiselectable': 'true',
      keydown,
      click,
      focusin: (/** @type {Event} */ event) => onFocus(placeAt(event)?.seat.id ?? null),
      focusout: () => onFocus(null),
    },
    ...rows,
  );
  const longest = Math.max(...block.rows.map(({ length }) => length));
  // rows out of sight are not laid out, so the width must be known without them
  element.style.setProperty('--seats', String(longest));

  /** @param {Event} event */
  function placeAt({ target }) {
    return places.get(/** @type {HTMLElement} */ (target).dataset.id ?? '');
  }

  /** @param {Event} event */
  function click(event) {
    const place = placeAt(event);
    if (!place) return;
    mark(place.seat.id);
    // what was pressed is in sight
    place.cell.focus({ preventScroll: true });
    onPress(place.seat);
  }

  /** @param {Event} event */
  function keydown(event) {
    const place = placeAt(event);
    const { key, ctrlKey, altKey, metaKey } = /** @type {KeyboardEvent} */ (event);
    if (!place || altKey || metaKey) return;
    const step = STEPS[ctrlKey ? `Ctrl+${key}` : key];
    if (step) {
      const [row, column] = step(place.row, place.column);
      const seats = block.rows[clamp(row, block.rows.length)];
      moveTo(seats[clamp(column, seats.length)].id);
    } else if (key === 'Enter' || key === ' ') {
      onPress(place.seat);
    } else {
      return;
    }
    event.preventDefault();
  }

  /** @param {string} id */
  function moveTo(id) {
    places.get(id)?.cell.focus({ preventScroll: true });
    mark(id);
    // unlike the focus this heeds what lies over the page's foot
    places.get(id)?.cell.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  }

  /** Bring a seat into sight, with those beside it, and to where the arrow keys begin. @param {string} id */
  function reveal(id) {
    mark(id);
    places.get(id)?.cell.scrollIntoView({ block: 'nearest', inline: 'center' });
  }

  /** The one stop for the tab key. @param {string} id */
  function mark(id) {
    places.get(current)?.cell.setAttribute('tabindex', '-1');
    places.get(id)?.cell.setAttribute('tabindex', '0');
    current = id;
  }

  /** @param {string[] | null} ids */
  function paint(ids) {
    for (const id of ids ?? places.keys()) {
      const place = places.get(id);
      if (place) paintSeat(place.cell, place.seat, stateOf(id), labels);
    }
  }

  mark(current);
  paint(null);
  return { element, paint, reveal };
}

/**
 * @param {HTMLElement} cell
 * @param {Seat} seat
 * @param {SeatState} state
 * @param {Labels} labels
 */
function paintSeat(cell, seat, state, labels) {
  if (cell.dataset.state === state) return;
  cell.dataset.state = state;
  const price = seat.price !== null && labels.price(seat.price);
  cell.setAttribute('aria-label', [labels.place(seat), price, labels[state]].filter(Boolean).join(', '));
  cell.setAttribute('aria-selected', String(state === 'own'));
  cell.setAttribute('aria-disabled', String(state === 'held' || state === 'sold'));
}

/**
 * @param {number} at
 * @param {number} length
 */
function clamp(at, length) {
  return Math.max(0, Math.min(at, length - 1));
}
