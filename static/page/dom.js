/** The page's own drawings, and the building of elements. */

export { h } from '../keepseat/elements/build.js';

/**
 * @param {string} tag
 * @param {Record<string, string | number>} [attributes]
 * @param {SVGElement[]} children
 * @returns {SVGElement}
 */
export function svg(tag, attributes = {}, ...children) {
  const element = /** @type {SVGElement} */ (document.createElementNS('http://www.w3.org/2000/svg', tag));
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/** Draws what its words say already, so readers of the screen skip it. @param {string} name */
export function icon(name) {
  const path = svg('path', { d: ICONS[name] });
  return svg('svg', { viewBox: '0 0 24 24', class: 'icon', 'aria-hidden': 'true' }, path);
}

/** @type {Record<string, string>} strokes on a field of 24 × 24 */
const ICONS = {
  ticket:
    'M3 8a2 2 0 0 1 2-2h14a2 2 0 0 1 2 2v2a2 2 0 0 0 0 4v2a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2v-2a2 2 0 0 0 0-4zM14 6v2m0 3v2m0 3v2',
  back: 'M15 5l-7 7 7 7',
  place: 'M12 21s7-6.2 7-11.5A7 7 0 0 0 5 9.5C5 14.8 12 21 12 21zM12 12a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5z',
  clock: 'M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 7v5l3 2',
  people:
    'M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM2.5 20a6.5 6.5 0 0 1 13 0M16 4.3a3.5 3.5 0 0 1 0 6.4M18 14.2a6.5 6.5 0 0 1 3.5 5.8',
  seat: 'M7 12V6a2 2 0 0 1 2-2h6a2 2 0 0 1 2 2v6M5 11a2 2 0 0 1 2 2v2h10v-2a2 2 0 1 1 4 0v5H3v-5a2 2 0 0 1 2-2zM6 18v2m12-2v2',
  horn: 'M4 10v4h3l7 4V6l-7 4zM17.5 9a4 4 0 0 1 0 6',
  talk: 'M4 5h16v11H11l-5 4v-4H4z',
  send: 'M4 12l16-7-6 15-3-6z',
  check: 'M5 12.5l4.5 4.5L19 7.5',
  warning: 'M12 4l9 16H3zM12 10v4m0 2.5v.5',
  close: 'M6 6l12 12M18 6L6 18',
  down: 'M12 5v14m-6-6l6 6 6-6',
  globe: 'M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM3 12h18M12 3c3 3 3.5 6 3.5 9s-.5 6-3.5 9c-3-3-3.5-6-3.5-9S9 6 12 3z',
  code: 'M8 7l-5 5 5 5M16 7l5 5-5 5M13.5 5l-3 14',
  cut: 'M6 9a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM6 21a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM8.5 7.5L20 18M8.5 16.5L20 6',
  bolt: 'M13 3L5 14h6l-1 7 8-11h-6z',
  key: 'M8 17a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM11.5 11L20 4m-3 2.5l2.5 2.5',
  leave: 'M14 4H6v16h8M10 12h11m-4-4l4 4-4 4',
  gauge: 'M4 18a9 9 0 1 1 16 0M12 14l4-5',
};
