/** The pure rules: how long to wait, and what a close code asks for. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { backoffDelay } from '../../../static/keepseat/backoff.js';
import { afterClose } from '../../../static/keepseat/closing.js';

const almostOne = () => 1 - Number.EPSILON;

test('backoff is full jitter: any time from none up to a limit that doubles until 30 s', () => {
  const limits = [0, 1, 2, 3, 4, 5, 6, 1000].map((failures) => Math.round(backoffDelay(failures, almostOne)));

  assert.deepEqual(limits, [1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
  assert.equal(
    backoffDelay(5, () => 0),
    0,
  );
});

test('the first try comes within a second', () => {
  for (let i = 0; i < 1000; i++) assert.ok(backoffDelay(0) < 1000);
});

const TABLE = [
  [1000, '', 'retry'],
  [1001, '', 'retry'],
  [1003, '', 'stop'],
  [1006, '', 'retry'],
  [1007, '', 'stop'],
  [1008, '', 'retry', 60_000],
  [1009, '', 'stop'],
  [1012, 'restart', 'retry', 2_500],
  [1013, 'slow', 'retry'],
  [3000, 'token_expired', 'refresh', 0],
  [3000, 'token_required', 'sign-out'],
  [3000, 'token_invalid', 'sign-out'],
  [3000, 'token_revoked', 'sign-out'],
  [3000, 'user_mismatch', 'sign-out'],
  [3000, 'auth_timeout', 'retry'],
  [3003, '', 'stop'],
  [4000, '', 'stop'],
  [4001, '', 'retry'],
  [4999, '', 'retry'],
  // a reason counts only beside the code that it belongs to
  [1006, 'token_expired', 'retry'],
];

for (const [code, reason, next, waitMs] of TABLE) {
  test(`close ${code} ${reason}: ${next}`, () => {
    assert.deepEqual(
      afterClose(code, reason, () => 0.5),
      waitMs === undefined ? { next } : { next, waitMs },
    );
  });
}
