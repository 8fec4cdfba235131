/** The box under a chat: what is sent carries a key, so that trying again never says it twice. */

import { h, icon } from './dom.js';
import { newKey } from './http.js';
import { errorText, t } from './i18n.js';

const LONGEST = 500;

/**
 * @param {import('../keepseat/client.js').Client} client
 * @param {string} room
 * @param {{ from: string, userId: string }} author
 */
export function chatBox(client, room, author) {
  const input = /** @type {HTMLInputElement} */ (
    h('input', {
      name: 'message',
      'aria-label': t('message'),
      placeholder: t('messagePlaceholder'),
      maxlength: LONGEST,
      autocomplete: 'off',
    })
  );
  const button = /** @type {HTMLButtonElement} */ (
    h('button', { class: 'primary' }, icon('send'), h('span', {}, t('send')))
  );
  const trouble = h('div', { role: 'alert' });
  let last = { text: '', key: '' };

  /** @param {Event} event */
  async function submit(event) {
    event.preventDefault();
    const text = input.value.trim();
    if (!text || button.disabled) return;
    if (text !== last.text) last = { text, key: newKey() };
    button.disabled = true;
    trouble.replaceChildren();
    try {
      // it waits for the line, however long that takes
      await client.publish(room, { ...author, text }, { key: last.key, timeoutMs: Infinity });
      last = { text: '', key: '' };
      input.value = '';
    } catch (error) {
      const reason = errorText(/** @type {{ code: string }} */ (error).code);
      trouble.replaceChildren(h('p', { class: 'trouble' }, icon('warning'), t('notSent', { reason })));
    } finally {
      button.disabled = false;
    }
  }

  return h('div', { class: 'chat-box' }, trouble, h('form', { submit }, input, button));
}
