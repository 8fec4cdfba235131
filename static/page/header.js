/** The bar at the top: the name of the place, and who is here. */

import { h, icon } from './dom.js';
import { t } from './i18n.js';

/**
 * @param {HTMLElement} place
 * @param {{ name: string, onSignOut: () => void } | null} user
 */
export function showHeader(place, user) {
  const skip = h('a', { class: 'skip', href: '#main', click: skipToMain }, t('skip'));
  const brand = h('a', { class: 'brand', href: '#/' }, icon('ticket'), 'Keepseat');
  place.replaceChildren(skip, brand, ...(user ? account(user) : []));
}

/** @param {{ name: string, onSignOut: () => void }} user */
function account({ name, onSignOut }) {
  const spoken = h('span', { class: 'visually-hidden' }, t('signedInAs', { name }));
  const seen = h('span', { 'aria-hidden': 'true' }, name);
  return [
    h('span', { class: 'user' }, spoken, seen),
    h('button', { type: 'button', class: 'quiet', click: onSignOut }, t('signOut')),
  ];
}

/** The part after `#` names the page here, so the browser's own jump is not for us. @param {Event} event */
function skipToMain(event) {
  event.preventDefault();
  document.getElementById('main')?.focus();
}
