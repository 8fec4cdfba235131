/** The bar at the top: the name of the place, and who is here. */

import { h, icon } from './dom.js';
import { t } from './i18n.js';

/**
 * @param {HTMLElement} place
 * @param {{ userId: string, onSignOut: () => void } | null} user
 */
export function showHeader(place, user) {
  const skip = h('a', { class: 'skip', href: '#main', click: skipToMain }, t('skip'));
  const brand = h('a', { class: 'brand', href: '#/' }, icon('ticket'), 'Keepseat');
  const account = user && [
    h('span', { class: 'user' }, h('span', { class: 'visually-hidden' }, t('signedInAs', { name: user.userId })), h('span', { 'aria-hidden': 'true' }, user.userId)),
    h('button', { type: 'button', class: 'quiet', click: user.onSignOut }, t('signOut')),
  ];
  place.replaceChildren(skip, brand, ...(account ?? []));
}

/** The part after `#` names the page here, so the browser's own jump is not for us. @param {Event} event */
function skipToMain(event) {
  event.preventDefault();
  document.getElementById('main')?.focus();
}
