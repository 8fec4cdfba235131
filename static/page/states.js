/** What stands where content is not: it loads, there is none, or it could not be had. */

import { h, icon } from './dom.js';
import { t } from './i18n.js';

/** Boxes where the content will be, so that nothing jumps when it comes. @param {number} count */
export function loading(count) {
  const boxes = Array.from({ length: count }, () => h('div', { class: 'skeleton' }));
  return h('div', { class: 'cards', role: 'status', 'aria-label': t('loading') }, ...boxes);
}

/**
 * @param {{ sign: string, title: string, text?: string, heading?: 'h1' | 'h2' | 'h3', action?: HTMLElement }} words
 */
export function placeholder({ sign, title, text, heading = 'h2', action }) {
  return h(
    'div',
    { class: 'placeholder' },
    icon(sign),
    h(heading, {}, title),
    text && h('p', {}, text),
    action,
  );
}

/**
 * @template T
 * @typedef {object} Filling
 * @property {() => Promise<T>} load
 * @property {(value: T) => Node} show
 * @property {(error: any) => Node | null} failed what to show for an error that trying again does not mend
 * @property {number} boxes how many to draw while loading
 * @property {'h1' | 'h2'} heading of the words about a failure
 */

/**
 * Load, and show what came; on failure offer to try again.
 *
 * @template T
 * @param {HTMLElement} place
 * @param {Filling<T>} filling
 * @param {AbortSignal} signal
 */
export async function fill(place, filling, signal) {
  const { load, show, failed, boxes, heading } = filling;
  place.replaceChildren(loading(boxes));
  const again = () => {
    const action = h('button', { class: 'primary', click: () => fill(place, filling, signal) }, t('retry'));
    return placeholder({
      sign: 'warning',
      title: t('loadFailed'),
      text: t('error_network'),
      heading,
      action,
    });
  };
  const shown = await load().then(
    (value) => () => show(value),
    (error) => () => failed(error) ?? again(),
  );
  // the reader may have gone elsewhere meanwhile: then nothing is begun
  if (!signal.aborted) place.replaceChildren(shown());
}
