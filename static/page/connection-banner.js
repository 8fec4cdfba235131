/** The words and the state of a `<connection-status>`. */

import { t } from './i18n.js';

/** @param {HTMLElement} banner */
export function dress(banner) {
  banner.setAttribute('connecting-text', t('connecting'));
  banner.setAttribute('reconnecting-text', t('reconnecting'));
  banner.setAttribute('retry-text', t('tryNow'));
}

/**
 * @param {HTMLElement} banner
 * @param {import('../keepseat/types.js').StateChange} change
 */
export function showChange(banner, { state, willRetry, code }) {
  const gone = willRetry ? t('disconnected') : code === 4000 ? t('replaced') : t('disconnectedFinal');
  banner.setAttribute('disconnected-text', gone);
  banner.setAttribute('state', state);
}
