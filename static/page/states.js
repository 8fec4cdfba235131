/** What stands where content is not: it loads, there is none, or it could not be had. */

import { h, icon } from './dom.js';
import { t } from './i18n.js';

/** Boxes where the content will be, so that nothing jumps when it comes. @param {number} count */
export function loading(count) {
  const boxes = Array.from({ length: count }, () => h('div', { class: 'skeleton' }));
  return h('div', { class: 'cards', role: 'status', 'aria-label': t('loading') }, ...boxes);
}

/**
 * @param {{ sign: string, title: string, text?: string, action?: HTMLElement }} words
 */
export function placeholder({ sign, title, text, action }) {
  return h('div', { class: 'placeholder' }, icon(sign), h('h2', {}, title), text && h('p', {}, text), action);
}

/**
 * Load, and show what came; on failure offer to try again.
 *
 * @template T
 * @param {HTMLElement} place
 * @param {{ load: () => Promise<T>, show: (value: T) => Node, failed: (error: any) => Node | null, boxes: number }} how
 * @param {AbortSignal} signal
 */
export async function fill(place, { load, show, failed, boxes }, signal) {
  place.replaceChildren(loading(boxes));
  let content;
  try {
    content = show(await load());
  } catch (error) {
    const again = h('button', { class: 'primary', click: () => fill(place, { load, show, failed, boxes }, signal) }, t('retry'));
    content = failed(error) ?? placeholder({ sign: 'warning', title: t('loadFailed'), text: t('error_network'), action: again });
  }
  if (!signal.aborted) place.replaceChildren(content);
}
