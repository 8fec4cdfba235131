/** Asks for the API key. */

import { h, icon } from '../dom.js';
import { t } from '../i18n.js';
import { keepKey } from './key.js';

/**
 * @param {boolean} isRefused
 * @param {(key: string) => void} onKey
 */
export function keyForm(isRefused, onKey) {
  const input = /** @type {HTMLInputElement} */ (
    h('input', {
      id: 'key',
      type: 'password',
      autocomplete: 'off',
      required: true,
      spellcheck: 'false',
      'aria-describedby': 'key-hint',
    })
  );
  const trouble = h('div', { role: 'alert' });

  /** @param {Event} event */
  function submit(event) {
    event.preventDefault();
    keepKey(input.value.trim());
    onKey(input.value.trim());
  }

  // a live region speaks of what is put into it, so the words come after the region
  if (isRefused)
    requestAnimationFrame(() =>
      trouble.append(h('p', { class: 'trouble' }, icon('warning'), t('keyRefused'))),
    );
  return h(
    'section',
    { class: 'key-form' },
    h('h1', {}, t('ops')),
    h('p', { class: 'lead' }, t('opsLead')),
    trouble,
    h(
      'form',
      { submit },
      h('label', { for: 'key' }, t('apiKey')),
      input,
      h('p', { class: 'hint', id: 'key-hint' }, t('apiKeyHint')),
      h('button', { class: 'primary' }, t('showFigures')),
    ),
  );
}
