/** A poster for an event, drawn from its id: the same event always looks the same. */

import { svg } from './dom.js';

/** Ground, its far end, first and second ink. */
const INKS = [
  ['#23124f', '#5a2a86', '#ff7a59', '#ffd9a0'],
  ['#07303f', '#0f6a78', '#38d6b0', '#f4f1de'],
  ['#4a0c30', '#9a1f5c', '#ff6f9c', '#ffd2b0'],
  ['#0e2239', '#27507a', '#ffb703', '#9bd3f0'],
  ['#14301f', '#2f6a45', '#b7e35f', '#f7f3d0'],
  ['#331708', '#8a3d14', '#ff9f45', '#ffe3b3'],
];
const SIZE = 320;
/** Chosen so that the demo's posters show what its events are called after. */
const SEED = 265430;

/** @param {string} id */
export function poster(id) {
  const random = dice(id);
  const [ground, far, first, second] = INKS[Math.floor(random() * INKS.length)];
  const draw = PATTERNS[Math.floor(random() * PATTERNS.length)];
  // gradients are found by their name in the whole document
  const sky = `sky-${id}`;
  return svg(
    'svg',
    {
      viewBox: `0 0 ${SIZE} ${SIZE}`,
      class: 'poster',
      preserveAspectRatio: 'xMidYMid slice',
      'aria-hidden': 'true',
    },
    svg(
      'linearGradient',
      { id: sky, x1: 0, y1: 0, x2: 0.35, y2: 1 },
      svg('stop', { offset: 0, 'stop-color': ground }),
      svg('stop', { offset: 1, 'stop-color': far }),
    ),
    svg('rect', { width: SIZE, height: SIZE, fill: `url(#${sky})` }),
    ...draw(random, first, second),
  );
}

/** @typedef {(random: () => number, first: string, second: string) => SVGElement[]} Pattern */

/** A sun over waves of sound. @type {Pattern} */
function waves(random, first, second) {
  const x = 100 + random() * 140;
  const rings = [128, 104, 82, 62].map((r, i) =>
    svg('circle', {
      cx: x,
      cy: 118,
      r,
      fill: 'none',
      stroke: second,
      'stroke-width': 2.5,
      opacity: 0.18 + i * 0.14,
    }),
  );
  const lines = Array.from({ length: 13 }, (_, i) => {
    const y = 168 + i * 13;
    const swing = 8 + random() * 16;
    const d = `M-10 ${y} C 60 ${y - swing}, 110 ${y + swing}, 170 ${y} S 270 ${y - swing}, 330 ${y}`;
    return svg('path', { d, fill: 'none', stroke: first, 'stroke-width': 5, opacity: 1 - i * 0.06 });
  });
  return [...rings, svg('circle', { cx: x, cy: 118, r: 44, fill: second }), ...lines];
}

/** A lamp that turns over a dark sea. @type {Pattern} */
function beams(random, first, second) {
  const x = 90 + random() * 60;
  const rays = [-26, -4, 18].map((angle, i) => {
    const [from, to] = [angle - 7, angle + 7].map((a) => (a * Math.PI) / 180);
    const far = 420;
    const d = `M${x} 96 L${x + far * Math.cos(from)} ${96 + far * Math.sin(from)} L${x + far * Math.cos(to)} ${96 + far * Math.sin(to)} Z`;
    return svg('path', { d, fill: i === 1 ? second : first, opacity: 0.5 - i * 0.08 });
  });
  const tower = svg('path', { d: `M${x - 13} 108 h26 l14 220 h-54 z`, fill: second });
  const bands = [150, 206, 262].map((y) =>
    svg('path', {
      d: `M${x - 13 - (y - 108) / 16} ${y} h${26 + (y - 108) / 8} l1.6 26 h-${29 + (y - 108) / 8} z`,
      fill: first,
    }),
  );
  const lamp = svg('path', { d: `M${x - 16} 106 v-20 a16 16 0 0 1 32 0 v20 z`, fill: first });
  return [...rays, tower, ...bands, lamp, svg('circle', { cx: x, cy: 94, r: 9, fill: second })];
}

/** Comets over a field of points. @type {Pattern} */
function comets(random, first, second) {
  const points = Array.from({ length: 70 }, () =>
    svg('circle', {
      cx: random() * SIZE,
      cy: random() * SIZE,
      r: 0.8 + random() * 1.8,
      fill: second,
      opacity: 0.7,
    }),
  );
  const tails = Array.from({ length: 6 }, (_, i) => {
    const x = 30 + random() * 200;
    const y = 60 + i * 34 + random() * 20;
    const length = 90 + random() * 130;
    const ink = i % 2 ? second : first;
    const wide = 9 + random() * 9;
    const d = `M${x - wide * 0.4} ${y - wide} L${x + length} ${y - length * 0.5} L${x + wide * 0.6} ${y + wide * 0.9} Z`;
    return [
      svg('path', { d, fill: ink, opacity: 0.42 }),
      svg('circle', { cx: x, cy: y, r: wide, fill: ink }),
    ];
  });
  return [...points, ...tails.flat()];
}

/** Four strings that have been plucked. @type {Pattern} */
function strings(random, first, second) {
  const moon = svg('circle', { cx: 220 + random() * 40, cy: 90, r: 58, fill: second, opacity: 0.92 });
  const all = Array.from({ length: 4 }, (_, s) => {
    const x = 70 + s * 60;
    return Array.from({ length: 9 }, (_, i) => {
      const swing = (i - 4) * (9 + s * 3) * (0.7 + random() * 0.6);
      const d = `M${x} -10 Q ${x + swing * 2} ${130 + random() * 60}, ${x} 330`;
      return svg('path', {
        d,
        fill: 'none',
        stroke: s % 2 ? first : second,
        'stroke-width': i === 4 ? 4 : 1.6,
        opacity: 0.85 - Math.abs(i - 4) * 0.15,
      });
    });
  });
  return [moon, ...all.flat()];
}

/** Arches, one behind the other, as of a stage. @type {Pattern} */
function arches(random, first, second) {
  const x = 130 + random() * 60;
  return Array.from({ length: 6 }, (_, i) => {
    const r = 168 - i * 27;
    const d = `M${x - r} 330 V${190 - i * 6} a${r} ${r} 0 0 1 ${2 * r} 0 V330 Z`;
    return svg('path', { d, fill: i % 2 ? second : first, opacity: i === 5 ? 1 : 0.2 + i * 0.12 });
  });
}

/** @type {Pattern[]} */
const PATTERNS = [waves, beams, comets, strings, arches];

/** A row of numbers from 0 up to 1 that depends on the word alone (FNV-1a, then mulberry32). @param {string} word */
function dice(word) {
  let seed = SEED;
  for (let i = 0; i < word.length; i++) seed = Math.imul(seed ^ word.charCodeAt(i), 16777619);
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let n = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    n = (n + Math.imul(n ^ (n >>> 7), 61 | n)) ^ n;
    return ((n ^ (n >>> 14)) >>> 0) / 4294967296;
  };
}
