/**
 * `<hold-countdown expires-at="1698765732000">`: the time that is left, as `4:59` in its own text and as a ring
 * beside it. It is a timer to readers of the screen, which do not read each second out. Attributes and events:
 * `docs/elements.md`.
 */

import { sheet } from './build.js';

const TICK_MS = 250;
const DEFAULT_WARN_SECONDS = 30;

const STYLE = sheet(`
  :host { display: inline-flex; gap: .5em; align-items: center; font-weight: 700; font-variant-numeric: tabular-nums; }
  :host([hidden]) { display: none; }
  svg { flex: none; width: 1.35em; height: 1.35em; rotate: -90deg; fill: none; stroke-width: 4; }
  .way { stroke: var(--line, #ddd); }
  .left { stroke: var(--accent, #5130d4); stroke-linecap: round; stroke-dasharray: 100; }
  :host([warned]) { color: var(--trouble, #a6102a); }
  :host([warned]) .left { stroke: currentcolor; }
`);

export class HoldCountdown extends HTMLElement {
  static observedAttributes = ['expires-at'];

  /** The clock by which the hold ends, Unix milliseconds: of the server, where you know it. */
  now = () => Date.now();
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;
  /** @type {'calm' | 'warned' | 'ended'} */
  #stage = 'calm';
  #whole = 0;
  #ring;

  constructor() {
    super();
    const root = this.attachShadow({ mode: 'open' });
    root.adoptedStyleSheets = [STYLE];
    const [svg, ring] = drawRing();
    this.#ring = ring;
    root.append(svg, document.createElement('slot'));
  }

  connectedCallback() {
    if (!this.hasAttribute('role')) this.setAttribute('role', 'timer');
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    this.#tick();
  }

  disconnectedCallback() {
    clearInterval(this.#timer);
  }

  /** A hold begins, is lengthened, or is another one. */
  attributeChangedCallback() {
    this.#whole = this.remaining;
    this.#stage = 'calm';
    if (this.isConnected) this.#tick();
  }

  /** Milliseconds; 0 where there is no hold. */
  get remaining() {
    const end = Number(this.getAttribute('expires-at'));
    return end ? Math.max(0, end - this.now()) : 0;
  }

  #tick() {
    if (!this.hasAttribute('expires-at')) return;
    const left = this.remaining;
    const text = clockText(left);
    if (this.textContent !== text) this.textContent = text;
    this.#ring.style.strokeDashoffset = String(100 - (this.#whole ? (100 * left) / this.#whole : 0));
    const warnMs = 1000 * Number(this.getAttribute('warn-seconds') ?? DEFAULT_WARN_SECONDS);
    this.#enter(left === 0 ? 'ended' : left <= warnMs ? 'warned' : 'calm');
  }

  /** @param {'calm' | 'warned' | 'ended'} stage */
  #enter(stage) {
    this.toggleAttribute('warned', stage !== 'calm');
    if (stage === this.#stage) return;
    this.#stage = stage;
    if (stage !== 'calm') this.dispatchEvent(new CustomEvent(stage === 'warned' ? 'warn' : 'ended'));
  }
}

/** Minutes and seconds that are left, `4:59`. @param {number} ms */
export function clockText(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}

/** @returns {[SVGElement, SVGElement]} */
function drawRing() {
  const [svg, way, left] = ['svg', 'circle', 'circle'].map(
    (tag) => /** @type {SVGElement} */ (document.createElementNS('http://www.w3.org/2000/svg', tag)),
  );
  svg.setAttribute('viewBox', '0 0 36 36');
  svg.setAttribute('aria-hidden', 'true');
  way.setAttribute('class', 'way');
  left.setAttribute('class', 'left');
  for (const circle of [way, left]) {
    // as long as 100 units, so that a part of it is a percentage
    for (const [name, value] of Object.entries({ cx: 18, cy: 18, r: 15.915 }))
      circle.setAttribute(name, String(value));
    svg.append(circle);
  }
  return [svg, left];
}
