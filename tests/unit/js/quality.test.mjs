/** How good a connection is: the figures, the levels and their thresholds, and what counts as a break. */

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { Quality } from '../../../static/keepseat/quality.js';
import { accept, FakeWebSocket, fresh, pass, start } from './fakes.mjs';

beforeEach(fresh);

function measured(...trips) {
  const quality = new Quality();
  for (const trip of trips) quality.measure(trip);
  return quality;
}

const broken = (more) => ({ state: 'reconnecting', previous: 'connected', code: 1006, ...more });
const mended = { state: 'connected', previous: 'reconnecting' };

test('nothing is known before a heartbeat was answered', () => {
  assert.deepEqual(new Quality().figures, {
    level: null,
    p50Ms: null,
    p95Ms: null,
    jitterMs: null,
    late: 0,
    missed: 0,
    reconnects: 0,
  });
});

test('p50, p95, jitter and late ones, of the newest thirty', () => {
  const old = Array.from({ length: 10 }, () => 9_000);
  const trips = Array.from({ length: 30 }, (_, i) => (i === 29 ? 1_500 : 20 + (i % 2) * 10));

  const figures = measured(...old, ...trips).figures;

  assert.deepEqual(
    [figures.p50Ms, figures.p95Ms, Math.round(figures.jitterMs), figures.late],
    [20, 30, Math.round((28 * 10 + 1_480) / 29), 1],
  );
});

test('what a sleeping page or a changed clock makes of a round trip does not count', () => {
  assert.equal(measured(-5, 3_600_000).figures.level, null);
});

const LEVELS = [
  ['good', [300, 300]],
  ['fair', [301, 301]],
  ['fair', [100, 300]],
  ['fair', [1_000, 1_000]],
  ['poor', [1_001, 1_001]],
  ['poor', [100, 900]],
];

for (const [level, trips] of LEVELS) {
  test(`round trips of ${trips} ms: ${level}`, () => assert.equal(measured(...trips).figures.level, level));
}

const BREAKS = [
  ['good', 2, {}],
  ['fair', 3, {}],
  ['fair', 5, {}],
  ['poor', 6, {}],
  ['fair', 1, { reason: 'silent' }],
  ['poor', 2, { reason: 'silent' }],
  ['good', 20, { code: 1012 }],
  ['good', 20, { reason: 'page_hidden' }],
  ['good', 20, { code: undefined, reason: 'planned' }],
];

for (const [level, times, more] of BREAKS) {
  test(`broken ${times} times, ${JSON.stringify(more)}: ${level}`, () => {
    const quality = measured(50);
    for (let i = 0; i < times; i++) {
      quality.follow(broken(more));
      quality.follow(mended);
    }

    assert.equal(quality.figures.level, level);
  });
}

test('without a line the connection is poor, whoever ended it', () => {
  const quality = measured(50);
  quality.follow(broken({ code: 1012 }));
  assert.equal(quality.figures.level, 'poor');
  quality.follow(mended);

  assert.equal(quality.figures.level, 'good');
});

test('an hour later a break is forgotten', async () => {
  const quality = measured(50);
  for (let i = 0; i < 6; i++) quality.follow(broken());
  quality.follow(mended);
  assert.deepEqual([quality.figures.level, quality.figures.reconnects], ['poor', 6]);
  await pass(3_600_001);

  assert.deepEqual([quality.figures.level, quality.figures.reconnects], ['good', 0]);
});

test('a client measures its heartbeats, and tells', async () => {
  const { client } = await start();
  const told = [];
  client.on('quality', ({ level }) => told.push(level));
  const socket = accept();
  await pass(5_000);
  const { t } = socket.of('ping')[0];
  await pass(40);
  socket.receive({ type: 'pong', t, serverTime: 0 });
  assert.deepEqual([client.quality.level, client.quality.p50Ms], ['good', 40]);

  FakeWebSocket.last.end(1006);
  assert.equal(client.quality.level, 'poor');
  await pass(1_000);
  accept();

  assert.deepEqual([client.quality.level, client.quality.reconnects], ['good', 1]);
  assert.deepEqual(told, [null, 'good', 'poor', 'good']);
});

test('a heartbeat that is not answered is a missed one', async () => {
  const { client } = await start();
  accept();
  await pass(5_000);
  await pass(4_500);

  assert.deepEqual([client.quality.missed, client.quality.reconnects], [1, 1]);
});
