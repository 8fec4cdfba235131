/**
 * What a publication is to a reader that stands at a position: the client's half of the recovery rule.
 *
 * Twin of `session/recovery.py`; both pass `tests/vectors/recovery.json`. Whether a position in an older
 * epoch is still good only the server can say, from the room's chain: that half is not here.
 */

/** @import { Position } from './types.js' */

/** @typedef {'deliver' | 'duplicate' | 'gap'} Verdict */

/**
 * @param {Position} at where the reader is: everything up to its offset has been seen
 * @param {string} epoch
 * @param {number} offset
 * @param {boolean} [beginsEpoch] the publication says that it begins its epoch without loss
 * @returns {Verdict}
 */
export function judge(at, epoch, offset, beginsEpoch = false) {
  if (epoch !== at.epoch && !beginsEpoch) return 'gap';
  if (offset === at.offset + 1) return 'deliver';
  return epoch !== at.epoch || offset > at.offset ? 'gap' : 'duplicate';
}
