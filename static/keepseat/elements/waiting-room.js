/**
 * `<waiting-room>`: a place in line: the position, the way to the front, how many wait, how long it takes, and
 * whether that is known now or was known last. Give it `queue`, such as `client.queue('123')`; it opens no socket.
 * Properties, attributes and events: `docs/elements.md`.
 */

import { h, sheet } from './build.js';
import { WAITING_ROOM_LABELS } from './labels.js';

const STYLE = sheet(`
  :host { display: block; }
  :host([hidden]), [hidden] { display: none; }
  .board {
    display: grid; gap: .625rem; padding: 1rem 1.125rem; border-radius: var(--radius-small, .625rem);
    background: var(--night, #171125); color: var(--night-ink, #f7f1ff);
  }
  :host(:not([live])) .board { outline: 2px dashed var(--night-soft, #bfb2d9); outline-offset: -6px; }
  .live {
    justify-self: center; display: inline-flex; gap: .5rem; align-items: center; margin: 0;
    padding: .125rem .75rem; border-radius: 999px; font-size: .875rem; font-weight: 650;
    background: var(--night-raised, #251b3a); color: #8ff0bd;
  }
  .live::before {
    width: .5rem; height: .5rem; border: 2px solid currentcolor; border-radius: 50%; background: currentcolor;
    content: "";
  }
  :host(:not([live])) .live { color: var(--night-soft, #bfb2d9); }
  :host(:not([live])) .live::before { background: none; }
  .position { display: grid; justify-items: center; margin: 0; color: var(--night-soft, #bfb2d9); }
  .position b {
    color: var(--night-ink, #f7f1ff); font-size: clamp(3.25rem, 2rem + 6vw, 5rem); font-weight: 800;
    letter-spacing: -.04em; line-height: 1; font-variant-numeric: tabular-nums;
  }
  .way { position: relative; height: .625rem; border-radius: 999px; background: var(--night-line, #43365f); }
  .way i {
    position: absolute; inset: 0 auto 0 0; min-width: .625rem; border-radius: inherit;
    background: var(--spot, #ffb38a); transition: width .4s ease-out;
  }
  dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(7rem, 1fr)); gap: .5rem 1rem; margin: 0; }
  dt { color: var(--night-soft, #bfb2d9); font-size: .875rem; }
  dd { margin: 0; font-weight: 650; font-variant-numeric: tabular-nums; }
  ul { display: grid; gap: .375rem; margin: .875rem 0 0; padding: 0; list-style: none; font-size: .875rem; line-height: 1.4; }
  li { display: grid; grid-template-columns: 1.25rem 1fr; gap: .5rem; }
  li::before { content: "✓"; content: "✓" / ""; color: var(--good, #0f613c); font-weight: 700; }
  li:last-child::before { content: "!"; content: "!" / ""; color: var(--trouble, #a6102a); text-align: center; }
  /* in sight, however little of the rest is */
  footer {
    position: sticky; bottom: 0; display: flex; flex-wrap: wrap; gap: .5rem; justify-content: flex-end;
    margin-top: .5rem; padding-block: .5rem; background: var(--surface, #fff);
  }
  button {
    min-height: 2.75rem; padding: .5rem 1.25rem; border: 1.5px solid color-mix(in srgb, currentcolor 55%, transparent);
    border-radius: var(--radius-small, .625rem); background: none; color: var(--accent, #5130d4);
    font: inherit; font-weight: 650; cursor: pointer;
  }
  button:first-child { color: var(--trouble, #a6102a); }
  button:hover { background: var(--sunken, #eee); }
  /* what most people want stands out; what cannot be undone does not */
  button:last-child { border-color: transparent; background: var(--accent, #5130d4); color: var(--on-accent, #fff); }
  button:last-child:hover { background: var(--accent-hover, #3f22b4); }
  @media (width < 32rem) { button { flex: 1 1 auto; padding-inline: .75rem; } }
  button:focus-visible { outline: 3px solid var(--accent, #5130d4); outline-offset: 2px; }
  @media (prefers-reduced-motion: reduce) { .way i { transition: none; } }
`);

/**
 * @typedef {object} Place what the element reads of a queue; `client.queue(id)` is one
 * @property {number | null} position
 * @property {number | null} firstPosition
 * @property {number | null} total
 * @property {number | null} etaSeconds
 * @property {number | null} available
 */

export class WaitingRoom extends HTMLElement {
  static observedAttributes = ['live'];

  /** @type {(Place & EventTarget) | null} */
  #queue = null;
  #labels = WAITING_ROOM_LABELS;
  #listening = new AbortController();
  #board = board();

  constructor() {
    super();
    this.attachShadow({ mode: 'open' }).adoptedStyleSheets = [STYLE];
  }

  connectedCallback() {
    this.#draw();
  }

  attributeChangedCallback() {
    this.#board.showLive(this.hasAttribute('live'), this.#labels);
  }

  /** What is shown: it is read again with each `change` that it dispatches. */
  get queue() {
    return this.#queue;
  }

  set queue(queue) {
    this.#listening.abort();
    this.#listening = new AbortController();
    this.#queue = queue;
    queue?.addEventListener('change', () => this.#show(), { signal: this.#listening.signal });
    this.#show();
  }

  get labels() {
    return this.#labels;
  }

  /** The words, those that are to be others than the English ones. */
  set labels(labels) {
    this.#labels = { ...WAITING_ROOM_LABELS, ...labels };
    this.#draw();
  }

  #draw() {
    const { leave, hide, promises } = this.#labels;
    const tell = (/** @type {string} */ name) => () => this.dispatchEvent(new CustomEvent(name));
    this.#board = board();
    this.shadowRoot?.replaceChildren(
      this.#board.draw(this.#labels),
      h('ul', {}, ...promises.map((text) => h('li', {}, h('span', {}, text)))),
      h(
        'footer',
        {},
        h('button', { type: 'button', click: tell('leave') }, leave),
        h('button', { type: 'button', click: tell('hide') }, hide),
      ),
    );
    this.attributeChangedCallback();
    this.#show();
  }

  #show() {
    this.#board.show(this.#queue, this.#labels);
  }
}

/** The figures. */
function board() {
  const live = h('p', { class: 'live', role: 'status' });
  const position = h('b');
  const bar = h('i');
  const way = h('div', { class: 'way', role: 'progressbar', 'aria-valuemin': 0 }, bar);
  const [total, eta, available] = [h('dd'), h('dd'), h('dd')];
  const free = h('div');
  const figures = h('div', { class: 'board', hidden: true });

  return {
    /** @param {typeof WAITING_ROOM_LABELS} labels */
    draw(labels) {
      way.setAttribute('aria-label', labels.way);
      free.append(h('dt', {}, labels.available), available);
      figures.append(
        live,
        h('p', { class: 'position' }, h('span', {}, labels.position), position),
        way,
        h(
          'dl',
          {},
          h('div', {}, h('dt', {}, labels.total), total),
          h('div', {}, h('dt', {}, labels.eta), eta),
          free,
        ),
      );
      return figures;
    },

    /**
     * @param {boolean} isLive
     * @param {typeof WAITING_ROOM_LABELS} labels
     */
    showLive(isLive, labels) {
      live.textContent = isLive ? labels.live : labels.lastKnown;
    },

    /**
     * @param {Place | null} queue
     * @param {typeof WAITING_ROOM_LABELS} labels
     */
    show(queue, labels) {
      const at = queue?.position ?? null;
      const first = queue?.firstPosition ?? at;
      figures.hidden = at === null;
      if (!queue || at === null || first === null) return;
      const length = Math.max(1, first - 1);
      const done = at === 1 ? length : Math.max(0, first - at);
      position.textContent = labels.number(at);
      way.setAttribute('aria-valuemax', String(length));
      way.setAttribute('aria-valuenow', String(done));
      bar.style.width = `${(100 * done) / length}%`;
      total.textContent = labels.number(queue.total ?? 0);
      eta.textContent = queue.etaSeconds === null ? labels.unknown : labels.seconds(queue.etaSeconds);
      free.hidden = queue.available === null;
      available.textContent = labels.number(queue.available ?? 0);
    },
  };
}
