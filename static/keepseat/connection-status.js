/**
 * `<connection-status state="…">`: nothing while connected, yellow with a spinner while reconnecting, red when
 * disconnected. It shows what it is told and opens no socket.
 *
 * | attribute | |
 * | --- | --- |
 * | `state` | `connecting`, `connected`, `reconnecting`, `disconnected` or `signed-out` |
 * | `connecting-text`, `reconnecting-text`, `disconnected-text`, `retry-text` | what to say |
 * | `delay` | milliseconds before a yellow state is shown, so that a blip is not announced (default 1000) |
 *
 * Event: `retry`, when the button in the red banner is pressed; it bubbles. Colours: the custom properties in the
 * style below; parts: `waiting`, `gone`, `retry`.
 */

import { STYLE } from './connection-status-style.js';

const DEFAULT_DELAY_MS = 1_000;
/** @type {Record<string, { kind: 'waiting' | 'gone', attribute: string, text: string }>} */
const SHOWN = {
  connecting: { kind: 'waiting', attribute: 'connecting-text', text: 'Connecting…' },
  reconnecting: { kind: 'waiting', attribute: 'reconnecting-text', text: 'Reconnecting…' },
  disconnected: { kind: 'gone', attribute: 'disconnected-text', text: 'Disconnected.' },
};

export class ConnectionStatus extends HTMLElement {
  static observedAttributes = [
    'state',
    'retry-text',
    ...Object.values(SHOWN).map(({ attribute }) => attribute),
  ];

  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** What is seen now. @type {typeof SHOWN[string] | undefined} */
  #shown;
  #waiting = region('status', 'waiting');
  #gone = region('alert', 'gone');

  constructor() {
    super();
    const root = this.attachShadow({ mode: 'open' });
    root.adoptedStyleSheets = [STYLE];
    // both live regions exist before their text: only what is put into a region is announced
    root.append(this.#waiting, this.#gone);
  }

  /**
   * @param {string} name
   * @param {string | null} before
   * @param {string | null} now
   */
  attributeChangedCallback(name, before, now) {
    // what is put into a region is announced: not again for nothing
    if (before === now) return;
    if (name === 'state') this.#follow();
    else if (this.#shown) this.#show(this.#shown);
  }

  #follow() {
    const shown = SHOWN[this.getAttribute('state') ?? ''];
    clearTimeout(this.#timer);
    if (shown?.kind !== 'waiting' || this.#shown?.kind === 'waiting') {
      this.#show(shown);
    } else {
      // what is red stays red until this is shown instead, or the connection is back
      this.#timer = setTimeout(
        () => this.#show(shown),
        Number(this.getAttribute('delay') ?? DEFAULT_DELAY_MS),
      );
    }
  }

  disconnectedCallback() {
    clearTimeout(this.#timer);
  }

  /** @param {typeof SHOWN[string] | undefined} shown */
  #show(shown) {
    this.#shown = shown;
    const text = shown && (this.getAttribute(shown.attribute) ?? shown.text);
    this.#waiting.replaceChildren(...(shown?.kind === 'waiting' ? [sign('spinner'), line(text)] : []));
    this.#gone.replaceChildren(
      ...(shown?.kind === 'gone' ? [sign('mark'), line(text), this.#retryButton()] : []),
    );
  }

  #retryButton() {
    const button = document.createElement('button');
    button.type = 'button';
    button.setAttribute('part', 'retry');
    button.textContent = this.getAttribute('retry-text') ?? 'Try now';
    button.addEventListener('click', () =>
      this.dispatchEvent(new CustomEvent('retry', { bubbles: true, composed: true })),
    );
    return button;
  }
}

/**
 * @param {string} role
 * @param {string} part
 */
function region(role, part) {
  const element = document.createElement('div');
  element.setAttribute('role', role);
  element.setAttribute('part', part);
  return element;
}

/** A spinner or an exclamation mark, drawn by the style. @param {string} name */
function sign(name) {
  const element = document.createElement('span');
  element.className = name;
  element.setAttribute('aria-hidden', 'true');
  return element;
}

/** @param {string | undefined} text */
function line(text) {
  const element = document.createElement('span');
  element.textContent = text ?? '';
  return element;
}
