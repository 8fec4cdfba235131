/** Short words that come, are read out, and go by themselves. */

import { h, icon } from './dom.js';
import { t } from './i18n.js';

const SHOWN_MS = 8_000;

/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;

/**
 * Show a notice in place of the last one.
 *
 * @param {string} text
 * @param {{ href: string, text: string } | null} [link]
 */
export function notify(text, link = null) {
  const close = h(
    'button',
    { type: 'button', class: 'quiet', 'aria-label': t('dismiss'), click: clear },
    icon('close'),
  );
  region().replaceChildren(
    h(
      'div',
      { class: 'notice' },
      icon('check'),
      h('p', {}, text, link && ' ', link && h('a', { href: link.href }, link.text)),
      close,
    ),
  );
  clearTimeout(timer);
  timer = setTimeout(clear, SHOWN_MS);
}

export function clear() {
  clearTimeout(timer);
  region().replaceChildren();
}

/** In the document from the start: only what is put into a live region is read out. */
function region() {
  return /** @type {HTMLElement} */ (document.getElementById('notices'));
}
