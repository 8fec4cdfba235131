/** What went well and what did not, each in a region that is read out; the newest word only. */

import { h, icon } from './dom.js';

/** @typedef {ReturnType<typeof wordsPlace>} Words */

export function wordsPlace() {
  const good = h('div', { role: 'status' });
  const bad = h('div', { role: 'alert' });
  const clear = () => [good, bad].forEach((region) => region.replaceChildren());
  return {
    element: h('div', { class: 'words' }, good, bad),
    clear,
    /** @param {string} text */
    say(text) {
      clear();
      good.append(h('p', { class: 'success' }, icon('check'), text));
    },
    /** What is to be seen already, for who cannot see it. @param {string} text */
    whisper(text) {
      clear();
      good.append(h('span', { class: 'visually-hidden' }, text));
    },
    /** @param {string} text */
    complain(text) {
      clear();
      bad.append(h('p', { class: 'trouble' }, icon('warning'), text));
    },
  };
}
