/**
 * `<connection-quality level="…">`: three bars that say how good the connection is. It shows what it is told:
 *
 *     client.on('quality', ({ level, p50Ms }) => {
 *       meter.setAttribute('level', level ?? '');
 *       meter.setAttribute('round-trip', p50Ms ?? '');
 *     });
 *
 * | attribute | |
 * | --- | --- |
 * | `level` | `good` (three bars), `fair` (two), `poor` (one); anything else: not known yet (none) |
 * | `round-trip` | milliseconds, said beside the level |
 * | `label`, `good-text`, `fair-text`, `poor-text`, `unknown-text` | what to say |
 *
 * To assistive technology it is a meter; the words are its tooltip, too. Colours: the custom properties in the style
 * below; by default that of the text around.
 */

import { STYLE } from './connection-quality-style.js';

/** @type {Record<string, { value: number, attribute: string, text: string }>} */
const LEVELS = {
  good: { value: 3, attribute: 'good-text', text: 'Good' },
  fair: { value: 2, attribute: 'fair-text', text: 'Fair' },
  poor: { value: 1, attribute: 'poor-text', text: 'Poor' },
};
const UNKNOWN = { value: 0, attribute: 'unknown-text', text: 'Not measured yet' };

export class ConnectionQuality extends HTMLElement {
  static observedAttributes = [
    'level',
    'round-trip',
    'label',
    UNKNOWN.attribute,
    ...Object.values(LEVELS).map(({ attribute }) => attribute),
  ];

  #meter = document.createElement('div');
  #bars = [1, 2, 3].map(() => document.createElement('i'));

  constructor() {
    super();
    const root = this.attachShadow({ mode: 'open' });
    root.adoptedStyleSheets = [STYLE];
    this.#meter.setAttribute('role', 'meter');
    this.#meter.setAttribute('part', 'meter');
    this.#meter.setAttribute('aria-valuemin', '0');
    this.#meter.setAttribute('aria-valuemax', '3');
    this.#meter.append(...this.#bars);
    root.append(this.#meter);
    this.#show();
  }

  attributeChangedCallback() {
    this.#show();
  }

  #show() {
    const level = this.getAttribute('level') ?? '';
    const { value, attribute, text } = Object.hasOwn(LEVELS, level) ? LEVELS[level] : UNKNOWN;
    const roundTrip = this.getAttribute('round-trip');
    const label = this.getAttribute('label') ?? 'Connection quality';
    const time = roundTrip && value ? `, ${Math.round(+roundTrip)} ms` : '';
    const words = (this.getAttribute(attribute) ?? text) + time;
    this.#meter.dataset.level = level;
    this.#meter.title = `${label}: ${words}`;
    this.#meter.setAttribute('aria-label', label);
    this.#meter.setAttribute('aria-valuenow', String(value));
    this.#meter.setAttribute('aria-valuetext', words);
    this.#bars.forEach((bar, i) => bar.toggleAttribute('data-on', i < value));
  }
}
