/** The operators' page: what all servers do, live, for whoever holds the API key. */

import { h, icon } from '../dom.js';
import { language, t } from '../i18n.js';
import { label, languageSwitch } from '../header.js';
import { board } from './board.js';
import { forgetKey, keptKey } from './key.js';
import { keyForm } from './key-form.js';
import { watchOverview } from './overview.js';

const header = /** @type {HTMLElement} */ (document.getElementById('top'));
const main = /** @type {HTMLElement} */ (document.getElementById('main'));

/** @param {boolean} isRefused the key that was typed in is not the one */
function ask(isRefused) {
  showHeader(null);
  main.replaceChildren(keyForm(isRefused, watch));
  document.getElementById('key')?.focus();
}

/** @param {string} key */
function watch(key) {
  const life = new AbortController();
  const leave = () => {
    life.abort();
    forgetKey();
    ask(false);
  };
  const shown = board();
  showHeader(leave);
  main.replaceChildren(shown.element);
  watchOverview(
    key,
    {
      onFigures: shown.show,
      onTrouble: shown.complain,
      onRefused() {
        leave();
        ask(true);
      },
    },
    life.signal,
  );
}

/** @param {(() => void) | null} onLeave */
function showHeader(onLeave) {
  header.replaceChildren(
    h('a', { class: 'brand', href: '/' }, icon('gauge'), t('ops')),
    ...(onLeave ? [forgetButton(onLeave)] : []),
    languageSwitch(),
  );
}

/** @param {() => void} click */
function forgetButton(click) {
  return h('button', { type: 'button', class: 'quiet', click }, icon('leave'), label(t('forgetKey')));
}

document.documentElement.lang = language;
document.title = `${t('ops')} · Keepseat`;
const kept = keptKey();
if (kept) watch(kept);
else ask(false);
