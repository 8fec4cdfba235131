/** The bar at the top: the name of the place, the language, and who is here. */

import { h, icon } from './dom.js';
import { LANGUAGES, chooseLanguage, language, t } from './i18n.js';

/** @typedef {{ name: string, meter: HTMLElement, onSignOut: () => void }} Account */

/**
 * @param {HTMLElement} place
 * @param {Account | null} user
 */
export function showHeader(place, user) {
  const skip = h('a', { class: 'skip', href: '#main', click: skipToMain }, t('skip'));
  const brand = h('a', { class: 'brand', href: '#/' }, icon('ticket'), 'Keepseat');
  place.replaceChildren(skip, brand, ...(user ? account(user) : []), languageSwitch());
}

/** @param {Account} user */
function account({ name, meter, onSignOut }) {
  const spoken = h('span', { class: 'visually-hidden' }, t('signedInAs', { name }));
  const seen = h('span', { 'aria-hidden': 'true' }, name);
  const tickets = h('a', { class: 'quiet', href: '#/tickets' }, icon('ticket'), label(t('myTickets')));
  return [
    meter,
    tickets,
    h('span', { class: 'user' }, spoken, seen),
    h('button', { type: 'button', class: 'quiet', click: onSignOut }, icon('leave'), label(t('signOut'))),
  ];
}

/** To the other language, in its own words. */
export function languageSwitch() {
  const other = language === 'ko' ? 'en' : 'ko';
  return h(
    'button',
    { type: 'button', class: 'quiet', lang: other, click: () => chooseLanguage(other) },
    icon('globe'),
    label(LANGUAGES[other]),
  );
}

/** Words that a narrow bar has no room for; readers of the screen hear them all the same. @param {string} text */
export const label = (text) => h('span', { class: 'label' }, text);

/** The part after `#` names the page here, so the browser's own jump is not for us. @param {Event} event */
function skipToMain(event) {
  event.preventDefault();
  document.getElementById('main')?.focus();
}
