/** Seats in words: where they are, and what they cost. */

import { formatPrice, t } from './i18n.js';

/** @typedef {import('../keepseat/elements/seat-plan.js').Plan} Plan */

/** Where a seat is, in words. @param {import('../keepseat/elements/seat-plan.js').Seat} seat */
export function placeOf({ section, row, number }) {
  return [section && t('inSection', { section }), row && t('inRow', { row }), t('seatNumber', { number })]
    .filter(Boolean)
    .join(', ');
}

/**
 * @param {Plan} plan
 * @param {string[]} ids
 */
export function placesOf({ byId }, ids) {
  const place = (/** @type {string} */ id) => {
    const seat = byId.get(id);
    return seat ? placeOf(seat) : id;
  };
  return ids.map(place).join(' · ');
}

/** What seats cost together, where anything is known of that. @param {Plan} plan @param {string[]} ids */
export function sumOf({ byId }, ids) {
  const prices = ids.flatMap((id) => byId.get(id)?.price ?? []);
  return prices.length ? formatPrice(prices.reduce((sum, price) => sum + price, 0)) : '';
}

/** The words of `<seat-map>`. */
export const seatMapLabels = () => ({
  stage: t('stage'),
  sections: t('sections'),
  others: t('otherSeats'),
  all: t('allSeats'),
  grid: (/** @type {string} */ section) => t('seatsOfSection', { section }),
  row: (/** @type {string} */ row) => t('inRow', { row }),
  free: (/** @type {number} */ count) => t('free', { count }),
  price: formatPrice,
  place: placeOf,
  available: t('seatAvailable'),
  own: t('seatOwn'),
  held: t('seatHeld'),
  sold: t('seatSold'),
  zoomIn: t('zoomIn'),
  zoomOut: t('zoomOut'),
  whole: t('wholeHouse'),
});

