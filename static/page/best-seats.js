/** Letting the server choose: so many seats, side by side where it can. */

import { h, icon } from './dom.js';
import { t } from './i18n.js';

/**
 * @param {import('../keepseat/elements/seat-plan.js').Plan} plan
 * @param {number} maxSeats
 * @param {(count: number, section?: string) => void} onPick
 */
export function bestSeats({ blocks }, maxSeats, onPick) {
  const counts = Array.from({ length: maxSeats }, (_, i) =>
    option(String(i + 1), t('seats', { count: i + 1 })),
  );
  const count = select('count', t('howMany'), counts);
  const names = blocks.map(({ name }) => option(name, t('inSection', { section: name })));
  const section = blocks.length > 1 && select('section', t('where'), [option('', t('anySection')), ...names]);

  /** @param {Event} event */
  function submit(event) {
    event.preventDefault();
    onPick(Number(count.value), (section && section.value) || undefined);
  }

  return h(
    'form',
    { class: 'best', submit, 'aria-label': t('bestSeats') },
    count,
    section,
    h('button', { class: 'secondary' }, icon('seat'), t('pick')),
  );
}

/**
 * @param {string} name
 * @param {string} label
 * @param {HTMLElement[]} options
 */
function select(name, label, options) {
  return /** @type {HTMLSelectElement} */ (h('select', { name, 'aria-label': label }, ...options));
}

/**
 * @param {string} value
 * @param {string} text
 */
function option(value, text) {
  return h('option', { value }, text);
}
