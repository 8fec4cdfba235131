/** What of the house is in sight: scale and place, moved by fingers, mouse and buttons. */

/** @typedef {import('./house-layout.js').Box} Box */

/** A pointer that moved no further has pressed, not dragged. */
const DRAG_PX = 6;
const LARGEST_SEAT_PX = 40;
const STEP = 1.6;
const MARGIN = 1;

export class HouseView {
  #canvas;
  #house;
  #onChange;
  #onPress;
  /** @type {Map<number, { x: number, y: number }>} */
  #pointers = new Map();
  #moved = 0;

  /** Pixels a unit, and where the origin of the house is. */
  scale = 1;
  x = 0;
  y = 0;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {Box} house
   * @param {{ onChange: () => void, onPress: (x: number, y: number) => void }} listeners
   */
  constructor(canvas, house, { onChange, onPress }) {
    this.#canvas = canvas;
    this.#house = house;
    this.#onChange = onChange;
    this.#onPress = onPress;
  }

  /** Hear what fingers and mouse do, until the signal comes. @param {AbortSignal} signal */
  listen(signal) {
    const canvas = this.#canvas;
    canvas.addEventListener('pointerdown', (event) => this.#down(event), { signal });
    canvas.addEventListener('pointermove', (event) => this.#move(event), { signal });
    canvas.addEventListener('pointerup', (event) => this.#up(event, true), { signal });
    canvas.addEventListener('pointercancel', (event) => this.#up(event, false), { signal });
    canvas.addEventListener('wheel', (event) => this.#wheel(event), { signal });
  }

  get isWhole() {
    return this.scale <= this.#wholeScale * 1.001;
  }

  /** All of it. */
  showAll() {
    this.show(this.#house);
  }

  /** Bring a part of it into sight, as large as it can be. @param {Box} box */
  show({ left, top, width, height }) {
    const { clientWidth: w, clientHeight: h } = this.#canvas;
    const fit = Math.min(w / (width + 2 * MARGIN), h / (height + 2 * MARGIN));
    this.scale = Math.max(this.#wholeScale, Math.min(fit, LARGEST_SEAT_PX));
    this.x = w / 2 - (left + width / 2) * this.scale;
    this.y = h / 2 - (top + height / 2) * this.scale;
    this.#keepInSight();
  }

  /** @param {1 | -1} direction */
  zoom(direction) {
    const { clientWidth: w, clientHeight: h } = this.#canvas;
    this.#zoomAt(w / 2, h / 2, STEP ** direction);
  }

  /**
   * From pixels of the canvas to the house.
   *
   * @param {number} px
   * @param {number} py
   * @returns {[number, number]}
   */
  toHouse(px, py) {
    return [(px - this.x) / this.scale, (py - this.y) / this.scale];
  }

  get #wholeScale() {
    const { clientWidth: w, clientHeight: h } = this.#canvas;
    const { width, height } = this.#house;
    return Math.max(0.5, Math.min(w / (width + 2 * MARGIN), h / (height + 2 * MARGIN), LARGEST_SEAT_PX));
  }

  /** @param {PointerEvent} event */
  #down(event) {
    if (!this.#pointers.size) this.#moved = 0;
    this.#pointers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    this.#canvas.setPointerCapture(event.pointerId);
  }

  /** @param {PointerEvent} event */
  #move(event) {
    const before = this.#pointers.get(event.pointerId);
    if (!before) return;
    const now = { x: event.offsetX, y: event.offsetY };
    const other = [...this.#pointers].find(([id]) => id !== event.pointerId)?.[1];
    this.#pointers.set(event.pointerId, now);
    this.#moved += Math.hypot(now.x - before.x, now.y - before.y);
    if (other) {
      const factor = distance(now, other) / Math.max(1, distance(before, other));
      this.#zoomAt((now.x + other.x) / 2, (now.y + other.y) / 2, factor);
    } else if (this.#moved > DRAG_PX) {
      this.x += now.x - before.x;
      this.y += now.y - before.y;
      this.#keepInSight();
    }
  }

  /**
   * @param {PointerEvent} event
   * @param {boolean} isDone
   */
  #up(event, isDone) {
    const wasDown = this.#pointers.delete(event.pointerId);
    if (wasDown && isDone && !this.#pointers.size && this.#moved <= DRAG_PX)
      this.#onPress(...this.toHouse(event.offsetX, event.offsetY));
  }

  /** As on other maps a bare wheel scrolls the page; pinching a trackpad comes with `ctrlKey`. @param {WheelEvent} event */
  #wheel(event) {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    this.#zoomAt(event.offsetX, event.offsetY, Math.exp(-event.deltaY / 150));
  }

  /**
   * @param {number} px
   * @param {number} py
   * @param {number} factor
   */
  #zoomAt(px, py, factor) {
    const [x, y] = this.toHouse(px, py);
    this.scale = Math.max(this.#wholeScale, Math.min(this.scale * factor, LARGEST_SEAT_PX));
    this.x = px - x * this.scale;
    this.y = py - y * this.scale;
    this.#keepInSight();
  }

  #keepInSight() {
    const { clientWidth: w, clientHeight: h } = this.#canvas;
    const { left, top, width, height } = this.#house;
    this.x = within(this.x, w, left * this.scale, width * this.scale);
    this.y = within(this.y, h, top * this.scale, height * this.scale);
    // while all is in sight a finger scrolls the page
    this.#canvas.style.touchAction = this.isWhole ? 'pan-y' : 'none';
    this.#onChange();
  }
}

/**
 * What is smaller than the window stays in its middle, what is larger leaves no gap at its edge.
 *
 * @param {number} at
 * @param {number} window
 * @param {number} start
 * @param {number} size
 */
function within(at, window, start, size) {
  if (size <= window) return (window - size) / 2 - start;
  return Math.min(-start, Math.max(at, window - size - start));
}

/** @param {{ x: number, y: number }} a @param {{ x: number, y: number }} b */
const distance = (a, b) => Math.hypot(a.x - b.x, a.y - b.y);
