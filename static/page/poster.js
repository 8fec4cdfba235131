/** A poster for an event, drawn from its id: the same event always looks the same. */

import { svg } from './dom.js';

/** Ground, first and second ink. */
const INKS = [
  ['#2b1a6b', '#ff7a59', '#ffd9a0'],
  ['#0d3b4f', '#38d6b0', '#f4f1de'],
  ['#5a1038', '#ff5d8f', '#ffc9a3'],
  ['#14324a', '#ffb703', '#8ecae6'],
  ['#1f3d2b', '#b7e35f', '#f7f3d0'],
  ['#3a1f0f', '#ff9f45', '#ffe3b3'],
];
const WIDTH = 320;
const HEIGHT = 200;

/** @param {string} id */
export function poster(id) {
  const random = dice(id);
  const [ground, first, second] = INKS[Math.floor(random() * INKS.length)];
  const draw = PATTERNS[Math.floor(random() * PATTERNS.length)];
  return svg(
    'svg',
    {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      class: 'poster',
      preserveAspectRatio: 'xMidYMid slice',
      'aria-hidden': 'true',
    },
    svg('rect', { width: WIDTH, height: HEIGHT, fill: ground }),
    ...draw(random, first, second),
  );
}

/** @typedef {(random: () => number, first: string, second: string) => SVGElement[]} Pattern */

/** A sun over waves of sound. @type {Pattern} */
function waves(random, first, second) {
  const x = 70 + random() * 180;
  const rings = [92, 74, 56, 38].map((r, i) =>
    svg('circle', {
      cx: x,
      cy: 96,
      r,
      fill: 'none',
      stroke: second,
      'stroke-width': 3,
      opacity: 0.25 + i * 0.15,
    }),
  );
  const lines = Array.from({ length: 7 }, (_, i) => {
    const y = 128 + i * 12;
    const swing = 6 + random() * 12;
    const d = `M-10 ${y} C 60 ${y - swing}, 110 ${y + swing}, 170 ${y} S 270 ${y - swing}, 330 ${y}`;
    return svg('path', { d, fill: 'none', stroke: first, 'stroke-width': 4, opacity: 1 - i * 0.1 });
  });
  return [...rings, svg('circle', { cx: x, cy: 96, r: 24, fill: second }), ...lines];
}

/** Beams of light on a stage. @type {Pattern} */
function beams(random, first, second) {
  const rays = Array.from({ length: 6 }, (_, i) => {
    const top = 20 + i * 56;
    const foot = 30 + random() * 260;
    return svg('path', {
      d: `M${top} -4 L${foot - 34} 168 L${foot + 34} 168 Z`,
      fill: i % 2 ? first : second,
      opacity: 0.3,
    });
  });
  const stage = svg('ellipse', { cx: 160, cy: 176, rx: 190, ry: 34, fill: first });
  return [...rays, stage, svg('ellipse', { cx: 160, cy: 170, rx: 130, ry: 18, fill: second, opacity: 0.85 })];
}

/** Comets over a field of points. @type {Pattern} */
function comets(random, first, second) {
  const points = Array.from({ length: 60 }, () =>
    svg('circle', {
      cx: random() * WIDTH,
      cy: random() * HEIGHT,
      r: 0.8 + random() * 1.8,
      fill: second,
      opacity: 0.7,
    }),
  );
  const tails = Array.from({ length: 5 }, (_, i) => {
    const x = 40 + random() * 250;
    const y = 30 + random() * 120;
    const length = 50 + random() * 70;
    const ink = i % 2 ? second : first;
    const d = `M${x} ${y} l${length} ${-length * 0.45}`;
    return [
      svg('path', { d, stroke: ink, 'stroke-width': 5, 'stroke-linecap': 'round', opacity: 0.45 }),
      svg('circle', { cx: x, cy: y, r: 8, fill: ink }),
    ];
  });
  return [...points, ...tails.flat()];
}

/** @type {Pattern[]} */
const PATTERNS = [waves, beams, comets];

/** A row of numbers from 0 up to 1 that depends on the word alone (FNV-1a, then mulberry32). @param {string} word */
function dice(word) {
  let seed = 2166136261;
  for (let i = 0; i < word.length; i++) seed = Math.imul(seed ^ word.charCodeAt(i), 16777619);
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let n = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    n = (n + Math.imul(n ^ (n >>> 7), 61 | n)) ^ n;
    return ((n ^ (n >>> 14)) >>> 0) / 4294967296;
  };
}
