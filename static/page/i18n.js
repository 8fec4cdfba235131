/** The page's words in the browser's language. On the wire there are only code words. */

import { en } from '../i18n/en.js';
import { ko } from '../i18n/ko.js';

/** @typedef {keyof typeof en} Key */

/** @type {Record<string, Record<Key, string>>} */
const DICTIONARIES = { en, ko };

export const language =
  navigator.languages.map((tag) => tag.split('-')[0]).find((l) => l in DICTIONARIES) ?? 'en';

const plural = new Intl.PluralRules(language);
const number = new Intl.NumberFormat(language);
const price = new Intl.NumberFormat(language, { style: 'currency', currency: 'KRW' });
const seconds = new Intl.NumberFormat(language, { style: 'unit', unit: 'second', unitDisplay: 'long' });
const minutes = new Intl.NumberFormat(language, { style: 'unit', unit: 'minute', unitDisplay: 'long' });
const date = new Intl.DateTimeFormat(language, { dateStyle: 'full', timeStyle: 'short' });
const time = new Intl.DateTimeFormat(language, { timeStyle: 'short' });

/**
 * `{name}` becomes the value. With a `count` that is 1 a key `<key>One` is preferred, where there is one.
 *
 * @param {Key} key
 * @param {Record<string, string | number>} [values]
 * @returns {string}
 */
export function t(key, values = {}) {
  const words = DICTIONARIES[language];
  const single = /** @type {Key} */ (`${key}One`);
  const isOne = typeof values.count === 'number' && plural.select(values.count) === 'one' && single in words;
  return words[isOne ? single : key].replace(/\{(\w+)\}/g, (_, name) => {
    const value = values[name];
    return typeof value === 'number' ? number.format(value) : value;
  });
}

/** @param {string} code a code word of the server */
export function errorText(code) {
  const key = `error_${code}`;
  return t(/** @type {Key} */ (key in en ? key : 'error_other'));
}

/** A length of time, to the second while it is short. @param {number} count */
export function formatSeconds(count) {
  return count < 90 ? seconds.format(Math.ceil(count)) : minutes.format(Math.ceil(count / 60));
}

/** @param {number} won */
export const formatPrice = (won) => price.format(won);
/** @param {number} ms */
export const formatDate = (ms) => date.format(ms);
/** @param {number} ms */
export const formatTime = (ms) => time.format(ms);
