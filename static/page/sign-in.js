/** The sign-in page. */

import { signIn } from './account.js';
import { h, icon } from './dom.js';
import { HttpError } from './http.js';
import { errorText, t } from './i18n.js';
import { poster } from './poster.js';

/** The poster of the house itself. */
const COVER = 'keepseat';

/**
 * @param {{ expired: boolean, onSignedIn: () => void }} options
 */
export function signInView({ expired, onSignedIn }) {
  const input = /** @type {HTMLInputElement} */ (
    h('input', {
      id: 'name',
      name: 'name',
      type: 'text',
      required: true,
      maxlength: 64,
      autocomplete: 'username',
      autocapitalize: 'off',
      spellcheck: 'false',
      'aria-describedby': 'name-hint',
    })
  );
  const button = /** @type {HTMLButtonElement} */ (h('button', { class: 'primary' }, t('signIn')));
  const trouble = h('div', { role: 'alert' });

  /** @param {string} text */
  const complain = (text) => trouble.replaceChildren(h('p', { class: 'trouble' }, icon('warning'), text));

  /** @param {Event} event */
  async function submit(event) {
    event.preventDefault();
    const name = input.value.trim();
    if (!name) {
      complain(t('nameMissing'));
      input.focus();
      return;
    }
    trouble.replaceChildren();
    button.disabled = true;
    button.textContent = t('signingIn');
    try {
      await signIn(name);
      onSignedIn();
    } catch (error) {
      complain(reason(error));
    } finally {
      button.disabled = false;
      button.textContent = t('signIn');
    }
  }

  const form = h(
    'form',
    { submit, novalidate: true },
    h('label', { for: 'name' }, t('name')),
    input,
    h('p', { id: 'name-hint', class: 'hint' }, t('nameHint')),
    button,
  );
  // a live region speaks of what is put into it, so the words come after the region
  if (expired) requestAnimationFrame(() => complain(t('expired')));
  return h(
    'section',
    { class: 'welcome' },
    h(
      'div',
      { class: 'welcome-art' },
      poster(COVER),
      h('h1', { tabindex: '-1' }, t('signInTitle')),
      h('p', { class: 'lead' }, t('signInLead')),
    ),
    h('div', { class: 'welcome-form' }, trouble, form, kept()),
  );
}

/** What is promised, before anybody has given a name. */
function kept() {
  const lines = /** @type {const} */ (['keptPlace', 'keptSeats', 'keptMessages']);
  return h('ul', { class: 'kept' }, ...lines.map((key) => h('li', {}, icon('check'), t(key))));
}

/** @param {unknown} error */
function reason(error) {
  if (!(error instanceof HttpError)) throw error;
  return error.status === 404 ? t('noDemo') : errorText(error.code);
}
