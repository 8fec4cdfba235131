/** The browser's half of the recovery rule against the vectors that the server passes too. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { judge } from '../../../static/keepseat/recovery.js';

const vectors = JSON.parse(readFileSync(new URL('../../vectors/recovery.json', import.meta.url), 'utf8'));

for (const { case: name, at, publication, begins, verdict } of vectors.judge) {
  test(name, () => {
    const [epoch, offset] = publication;

    assert.equal(judge({ epoch: at[0], offset: at[1] }, epoch, offset, begins), verdict);
  });
}
