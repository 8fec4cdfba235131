/** Draws the house: every seat by its state, in one path a state, so that thousands are one stroke of the brush. */

/** @typedef {import('./house-layout.js').Layout} Layout */
/** @typedef {import('./house-layout.js').Spot} Spot */
/** @typedef {import('./seat-plan.js').Block} Block */
/** @typedef {'available' | 'own' | 'held' | 'sold'} SeatState */
/** @typedef {{ seat: string, own: string, line: string, ink: string, soft: string, ground: string, font: string }} Inks */

const ROUNDED_FROM_PX = 7;
const NUMBERED_FROM_PX = 20;
/** Sections are named over their seats until one can tell the seats apart. */
const NAMED_UP_TO_PX = 13;

/**
 * @typedef {object} Picture
 * @property {Layout} layout
 * @property {{ scale: number, x: number, y: number }} view
 * @property {(id: string) => SeatState} stateOf
 * @property {Spot | null} marked where the keyboard is
 * @property {Block} open
 * @property {(block: Block) => string} nameOf
 * @property {string} stage
 */

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Inks} inks
 * @param {Picture} picture
 */
export function paintHouse(canvas, inks, picture) {
  const brush = canvas.getContext('2d');
  if (!brush) return;
  const { layout, view } = picture;
  const ratio = devicePixelRatio;
  const [w, h] = [canvas.clientWidth, canvas.clientHeight];
  if (canvas.width !== Math.round(w * ratio)) canvas.width = Math.round(w * ratio);
  if (canvas.height !== Math.round(h * ratio)) canvas.height = Math.round(h * ratio);
  brush.setTransform(ratio, 0, 0, ratio, 0, 0);
  brush.clearRect(0, 0, w, h);
  paintStage(brush, inks, picture);
  const inSight = layout.spots.filter(({ x, y }) => {
    const [px, py] = [x * view.scale + view.x, y * view.scale + view.y];
    return px > -view.scale && px < w + view.scale && py > -view.scale && py < h + view.scale;
  });
  paintSeats(brush, inks, picture, inSight);
  if (view.scale >= NUMBERED_FROM_PX) paintNumbers(brush, inks, picture, inSight);
  if (view.scale < NAMED_UP_TO_PX && layout.boxes.size > 1) paintNames(brush, inks, picture);
  if (picture.marked) paintMark(brush, inks, picture.marked, view);
}

/**
 * @param {CanvasRenderingContext2D} brush
 * @param {Inks} inks
 * @param {Picture} picture
 */
function paintStage(brush, inks, { layout, view, stage }) {
  const half = Math.min(layout.house.width * 0.3, 24) * view.scale;
  const [x, y, depth] = [view.x, view.y + 0.5 * view.scale, Math.min(5 * view.scale, half * 0.6)];
  brush.beginPath();
  brush.moveTo(x - half, y);
  brush.lineTo(x + half, y);
  brush.quadraticCurveTo(x, y + 2 * depth, x - half, y);
  brush.fillStyle = inks.ink;
  brush.fill();
  brush.fillStyle = inks.ground;
  brush.font = `700 ${Math.max(9, Math.min(14, depth * 0.55))}px ${inks.font}`;
  brush.textAlign = 'center';
  brush.textBaseline = 'middle';
  brush.fillText(stage, x, y + depth * 0.42);
}

/**
 * Told apart by shape, not by colour alone: free ones are full, those held by others hollow, sold ones a dot.
 *
 * @param {CanvasRenderingContext2D} brush
 * @param {Inks} inks
 * @param {Picture} picture
 * @param {Spot[]} spots
 */
function paintSeats(brush, inks, { view, stateOf }, spots) {
  const paths = { available: new Path2D(), own: new Path2D(), held: new Path2D(), sold: new Path2D() };
  const sizes = { available: 0.74, own: 0.98, held: 0.62, sold: 0.26 };
  for (const { seat, x, y } of spots) {
    const state = stateOf(seat.id);
    const size = sizes[state] * view.scale;
    const [left, top] = [x * view.scale + view.x - size / 2, y * view.scale + view.y - size / 2];
    if (size >= ROUNDED_FROM_PX) paths[state].roundRect(left, top, size, size, size * 0.28);
    else paths[state].rect(left, top, size, size);
  }
  brush.fillStyle = inks.seat;
  brush.fill(paths.available);
  brush.fillStyle = inks.soft;
  brush.fill(paths.sold);
  brush.strokeStyle = inks.soft;
  brush.lineWidth = Math.max(0.75, view.scale * 0.1);
  brush.stroke(paths.held);
  brush.fillStyle = inks.own;
  brush.fill(paths.own);
  brush.strokeStyle = inks.ink;
  brush.stroke(paths.own);
}

/**
 * @param {CanvasRenderingContext2D} brush
 * @param {Inks} inks
 * @param {Picture} picture
 * @param {Spot[]} spots
 */
function paintNumbers(brush, inks, { view, stateOf }, spots) {
  brush.font = `600 ${view.scale * 0.34}px ${inks.font}`;
  brush.textAlign = 'center';
  brush.textBaseline = 'middle';
  for (const { seat, x, y } of spots) {
    const state = stateOf(seat.id);
    if (state !== 'available' && state !== 'own') continue;
    brush.fillStyle = state === 'own' ? inks.ink : inks.ground;
    brush.fillText(seat.number, x * view.scale + view.x, y * view.scale + view.y);
  }
}

/**
 * @param {CanvasRenderingContext2D} brush
 * @param {Inks} inks
 * @param {Picture} picture
 */
function paintNames(brush, inks, { layout, view, open, nameOf }) {
  brush.font = `700 13px ${inks.font}`;
  brush.textAlign = 'center';
  brush.textBaseline = 'middle';
  for (const [block, { left, top, width, height }] of layout.boxes) {
    const name = nameOf(block);
    const x = (left + width / 2) * view.scale + view.x;
    const y = (top + height / 2) * view.scale + view.y;
    const half = brush.measureText(name).width / 2 + 10;
    // a name that is wider than its section would lie over others
    if (2 * half > width * view.scale + 16 || height * view.scale < 18) continue;
    brush.fillStyle = block === open ? inks.ink : inks.ground;
    brush.beginPath();
    brush.roundRect(x - half, y - 12, 2 * half, 24, 12);
    brush.fill();
    brush.fillStyle = block === open ? inks.ground : inks.ink;
    brush.fillText(name, x, y + 0.5);
  }
}

/**
 * @param {CanvasRenderingContext2D} brush
 * @param {Inks} inks
 * @param {Spot} spot
 * @param {Picture['view']} view
 */
function paintMark(brush, inks, { x, y }, view) {
  brush.beginPath();
  brush.arc(x * view.scale + view.x, y * view.scale + view.y, Math.max(6, view.scale * 0.75), 0, 7);
  brush.lineWidth = 2.5;
  brush.strokeStyle = inks.ink;
  brush.stroke();
}
