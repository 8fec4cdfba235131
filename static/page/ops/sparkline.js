/** The last values of a figure as a line; the figure itself stands beside it. */

import { svg } from '../dom.js';

/** Two minutes. */
const KEPT = 60;

export function sparkline() {
  const path = svg('path', { fill: 'none', stroke: 'currentColor', 'stroke-width': 1.5, 'vector-effect': 'non-scaling-stroke' });
  const element = svg(
    'svg',
    { viewBox: `0 0 ${KEPT - 1} 10`, preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    path,
  );
  /** @type {number[]} */
  let values = [];

  return {
    element,
    /** @param {number} value */
    add(value) {
      values = [...values, value].slice(-KEPT);
      const most = Math.max(1, ...values);
      const start = KEPT - values.length;
      const points = values.map((v, i) => `${start + i} ${(9.5 - (9 * v) / most).toFixed(2)}`);
      path.setAttribute('d', `M${points.join('L')}`);
    },
  };
}
