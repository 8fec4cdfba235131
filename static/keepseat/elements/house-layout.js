/**
 * Where the seats of a plan stand in the house. Pure. Nobody tells the real shape of a house, so this makes a
 * plausible one: the sections in their order from the stage back, those of one price side by side, rows bent
 * around the stage. The unit is the distance of two seats.
 */

/** @typedef {import('./seat-plan.js').Block} Block */
/** @typedef {import('./seat-plan.js').Seat} Seat */
/** @typedef {{ seat: Seat, block: Block, x: number, y: number }} Spot the middle of a seat */
/** @typedef {{ left: number, top: number, width: number, height: number }} Box */
/** @typedef {{ spots: Spot[], boxes: Map<Block, Box>, house: Box }} Layout */

const WIDEST_BAND = 120;
/** A few seats stand before a stage, too. */
const NARROWEST = 10;
const AISLE = 3;
const STAGE_DEPTH = 7;
/** How far the ends of the widest row are bent towards the stage, as a part of its half width. */
const BEND = 0.22;
const DEEPEST_BEND = 9;

/** @param {Block[]} blocks @returns {Layout} */
export function layOut(blocks) {
  const bands = bandsOf(blocks);
  const half = Math.max(NARROWEST, ...bands.map(widthOf)) / 2;
  const depth = Math.min(half * BEND, DEEPEST_BEND);
  const bend = (/** @type {number} */ x) => depth - depth * (x / half) ** 2;
  /** @type {Spot[]} */
  const spots = [];
  /** @type {Layout['boxes']} */
  const boxes = new Map();
  let top = STAGE_DEPTH;
  for (const band of bands) {
    let left = -widthOf(band) / 2;
    for (const block of band) {
      const first = spots.length;
      placeBlock(block, left, top, bend, spots);
      boxes.set(block, boxAround(spots.slice(first)));
      left += longestRow(block) + AISLE;
    }
    top += Math.max(...band.map(({ rows }) => rows.length)) + AISLE;
  }
  const height = top - AISLE + depth + 1;
  return { spots, boxes, house: { left: -half - 1, top: 0, width: 2 * half + 2, height } };
}

/**
 * @param {Block} block
 * @param {number} left
 * @param {number} top
 * @param {(x: number) => number} bend
 * @param {Spot[]} spots
 */
function placeBlock(block, left, top, bend, spots) {
  const width = longestRow(block);
  block.rows.forEach((row, i) => {
    const start = left + (width - row.length) / 2 + 0.5;
    row.forEach((seat, j) => {
      const x = start + j;
      spots.push({ seat, block, x, y: top + i + 0.5 + bend(x) });
    });
  });
}

/** @param {Block[]} blocks @returns {Block[][]} */
function bandsOf(blocks) {
  /** @type {Block[][]} */
  const bands = [];
  for (const block of blocks) {
    const band = bands.at(-1);
    const fits = band && band[0].price === block.price && widthOf([...band, block]) <= WIDEST_BAND;
    if (fits && blocks.length > 2) band.push(block);
    else bands.push([block]);
  }
  return bands;
}

/** @param {Block[]} band */
const widthOf = (band) => band.reduce((sum, block) => sum + longestRow(block), AISLE * (band.length - 1));

/** @param {Block} block */
const longestRow = ({ rows }) => rows.reduce((most, { length }) => Math.max(most, length), 1);

/** @param {Spot[]} spots @returns {Box} */
function boxAround(spots) {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const { x, y } of spots) {
    left = Math.min(left, x);
    right = Math.max(right, x);
    top = Math.min(top, y);
    bottom = Math.max(bottom, y);
  }
  return { left: left - 0.5, top: top - 0.5, width: right - left + 1, height: bottom - top + 1 };
}
