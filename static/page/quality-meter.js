/** How good the line is, as three bars in the frame of the page. */

import { h } from './dom.js';
import { t } from './i18n.js';

/** @typedef {import('../keepseat/client.js').Client} Client */
/** @typedef {import('../keepseat/types.js').QualityFigures} QualityFigures */

/** @type {Record<'good' | 'fair' | 'poor', import('./i18n.js').Key>} */
const LEVELS = { good: 'qualityGood', fair: 'qualityFair', poor: 'qualityPoor' };

/**
 * A `<connection-quality>` that follows the client until the signal comes.
 *
 * @param {Client} client
 * @param {AbortSignal} signal
 */
export function qualityMeter(client, signal) {
  const meter = h('connection-quality', {
    label: t('quality'),
    'good-text': levelText('good'),
    'fair-text': levelText('fair'),
    'poor-text': levelText('poor'),
    'unknown-text': levelText(null),
  });

  /** @param {QualityFigures} figures */
  function show({ level, p50Ms }) {
    meter.setAttribute('level', level ?? '');
    meter.setAttribute('round-trip', p50Ms === null ? '' : String(p50Ms));
  }

  client.on('quality', show, { signal });
  show(client.quality);
  return meter;
}

/** What each level is called. @param {QualityFigures['level']} level */
export function levelText(level) {
  return level ? t(LEVELS[level]) : t('qualityUnknown');
}
