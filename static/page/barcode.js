/** A word as a barcode that scanners read: Code 128 (ISO/IEC 15417), code set B. */

import { h, svg } from './dom.js';

/** Widths of bars and gaps in turn, eleven modules each, by value; then the start of set B, and the stop. */
const SYMBOLS = (
  '212222 222122 222221 121223 121322 131222 122213 122312 132212 221213 221312 231212 112232 122132 122231 ' +
  '113222 123122 123221 223211 221132 221231 213212 223112 312131 311222 321122 321221 312212 322112 322211 ' +
  '212123 212321 232121 111323 131123 131321 112313 132113 132311 211313 231113 231311 112133 112331 132131 ' +
  '113123 113321 133121 313121 211331 231131 213113 213311 213131 311123 311321 331121 312113 312311 332111 ' +
  '314111 221411 431111 111224 111422 121124 121421 141122 141221 112214 112412 122114 122411 142112 142211 ' +
  '241211 221114 413111 241112 134111 111242 121142 121241 114212 124112 124211 411212 421112 421211 212141 ' +
  '214121 412121 111143 111341 131141 114113 114311 411113 411311 113141 114131 311141 411131 211412 211214 ' +
  '211232 2331112'
).split(' ');
const START_B = 104;
const STOP = 106;
const CHECKED_BY = 103;
const QUIET_ZONE = 10;

/** @param {string} word printable ASCII */
export function barcode(word) {
  const widths = widthsOf(word);
  const whole = widths.reduce((sum, width) => sum + width, 0) + 2 * QUIET_ZONE;
  let x = QUIET_ZONE;
  const bars = widths.map((width, i) => {
    const bar = i % 2 === 0 ? `M${x} 0h${width}v10h-${width}z` : '';
    x += width;
    return bar;
  });
  const drawn = svg(
    'svg',
    { viewBox: `0 0 ${whole} 10`, preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    svg('path', { d: bars.join(''), fill: 'currentColor', 'shape-rendering': 'crispEdges' }),
  );
  return h('div', { class: 'barcode' }, drawn, h('p', {}, word));
}

/** Of bars and gaps in turn, with start, check character and stop. @param {string} word @returns {number[]} */
export function widthsOf(word) {
  const values = [...word].map((char) => char.charCodeAt(0) - 32);
  const check = values.reduce((sum, value, i) => sum + value * (i + 1), START_B) % CHECKED_BY;
  return [START_B, ...values, check, STOP].flatMap((value) => [...SYMBOLS[value]].map(Number));
}
