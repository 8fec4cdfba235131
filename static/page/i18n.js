/** The page's words, in the language chosen here or else the browser's. On the wire there are only code words. */

/** @typedef {typeof import('../i18n/en.js').words} Words */
/** @typedef {keyof Words} Key */

const KEY = 'language';
/** What each language calls itself. */
export const LANGUAGES = { en: 'English', ko: '한국어' };
/** @typedef {keyof typeof LANGUAGES} Language */

const wished = [localStorage.getItem(KEY) ?? '', ...navigator.languages.map((tag) => tag.split('-')[0])];
export const language = /** @type {Language} */ (wished.find((name) => name in LANGUAGES) ?? 'en');

/** A page without words is none: where they cannot be had it is fetched anew, a moment later. */
const RETRY_MS = 2_000;

/** Only the dictionary that is used is loaded. @type {Words} */
const words = await (language === 'ko' ? import('../i18n/ko.js') : import('../i18n/en.js')).then(
  (dictionary) => dictionary.words,
  () => new Promise(() => setTimeout(() => location.reload(), RETRY_MS)),
);

const plural = new Intl.PluralRules(language);
const number = new Intl.NumberFormat(language);
const price = new Intl.NumberFormat(language, { style: 'currency', currency: 'KRW' });
const seconds = new Intl.NumberFormat(language, { style: 'unit', unit: 'second', unitDisplay: 'long' });
const minutes = new Intl.NumberFormat(language, { style: 'unit', unit: 'minute', unitDisplay: 'long' });
const milliseconds = new Intl.NumberFormat(language, { style: 'unit', unit: 'millisecond', maximumFractionDigits: 0 });
const date = new Intl.DateTimeFormat(language, { dateStyle: 'full', timeStyle: 'short' });
const clock = new Intl.DateTimeFormat(language, { timeStyle: 'medium' });
const time = new Intl.DateTimeFormat(language, { timeStyle: 'short' });

/** From now on, on this machine; the page begins anew, and the session is restored. @param {Language} wish */
export function chooseLanguage(wish) {
  localStorage.setItem(KEY, wish);
  location.reload();
}

/**
 * `{name}` becomes the value. With a `count` that is 1 a key `<key>One` is preferred, where there is one.
 *
 * @param {Key} key
 * @param {Record<string, string | number>} [values]
 * @returns {string}
 */
export function t(key, values = {}) {
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
  return t(/** @type {Key} */ (key in words ? key : 'error_other'));
}

/** A length of time, to the second while it is short. @param {number} count */
export function formatSeconds(count) {
  return count < 90 ? seconds.format(Math.ceil(count)) : minutes.format(Math.ceil(count / 60));
}

/** @param {number} won */
export const formatPrice = (won) => price.format(won);
/** @param {number} count */
export const formatNumber = (count) => number.format(count);
/** @param {number} ms */
export const formatDate = (ms) => date.format(ms);
/** To the second. @param {number} ms */
export const formatClock = (ms) => clock.format(ms);
/** @param {number} ms */
export const formatTime = (ms) => time.format(ms);
/** A short time. @param {number} ms */
export const formatMs = (ms) => milliseconds.format(ms);
