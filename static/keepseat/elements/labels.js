/** What the elements say where nobody gives them other words. */

/** @typedef {import('./seat-plan.js').Seat} Seat */

export const WAITING_ROOM_LABELS = {
  position: 'Your position',
  way: 'Way to the front of the line',
  total: 'People in line',
  eta: 'Estimated wait',
  unknown: 'Unknown, or paused',
  available: 'Seats still free',
  live: 'Live',
  lastKnown: 'Last known',
  leave: 'Leave the line',
  hide: 'Hide, and keep my place',
  /** What happens to the place, said before one has to wonder; the last of them is a warning. */
  promises: /** @type {string[]} */ ([]),
  number: (/** @type {number} */ n) => n.toLocaleString('en'),
  seconds: (/** @type {number} */ n) => (n < 90 ? `${n} seconds` : `${Math.ceil(n / 60)} minutes`),
};

export const SEAT_MAP_LABELS = {
  stage: 'Stage',
  sections: 'Sections',
  others: 'Others',
  all: 'Seats',
  grid: (/** @type {string} */ section) => `Seats of section ${section}`,
  row: (/** @type {string} */ row) => `row ${row}`,
  free: (/** @type {number} */ count) => `${count.toLocaleString('en')} free`,
  price: (/** @type {number} */ price) => price.toLocaleString('en'),
  place: (/** @type {Seat} */ { section, row, number }) =>
    [section && `Section ${section}`, row && `row ${row}`, `seat ${number}`].filter(Boolean).join(', '),
  available: 'available',
  own: 'yours',
  held: 'held by someone else',
  sold: 'sold',
  zoomIn: 'Zoom in',
  zoomOut: 'Zoom out',
  whole: 'The whole house',
};
