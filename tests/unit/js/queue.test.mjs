/** A place in a waiting room: what the server says of it, over reconnects and in more than one tab. */

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { accept, fresh, pass, start } from './fakes.mjs';

beforeEach(fresh);

const told = (position, more = {}) => ({
  eventId: '1',
  position,
  total: 1200,
  etaSeconds: 24,
  available: 300,
  ...more,
});
const restored = (
  queue,
  rooms = [{ room: 'queue:1', epoch: 'E', offset: 0, recovered: true, missed: 0 }],
) => ({
  type: 'session-restored',
  session: {},
  rooms: [{ room: 'user:mina', epoch: 'E', offset: 7, recovered: true, missed: 0 }, ...rooms],
  queue,
  seats: null,
});

/** A client that waits at position 50. */
async function waiting() {
  const { client } = await start();
  const socket = accept();
  const queue = client.queue('1');
  const changes = [];
  queue.addEventListener('change', ({ detail }) =>
    changes.push([detail.previous, queue.status, detail.reason]),
  );
  const answer = queue.join();
  socket.receive({
    type: 'queue-joined',
    id: socket.of('join-queue')[0].id,
    room: 'queue:1',
    epoch: 'E',
    offset: 0,
    status: 'waiting',
    ...told(50),
  });
  await answer;
  return { client, socket, queue, changes };
}

async function again(socket) {
  socket.end(1006);
  await pass(4000);
  return accept();
}

test('from the end of the line to the front, and in', async () => {
  const { socket, queue, changes } = await waiting();
  assert.deepEqual([queue.status, queue.position, queue.total, queue.etaSeconds], ['waiting', 50, 1200, 24]);

  socket.receive({ type: 'queue-updated', ...told(3, { etaSeconds: null }) });
  assert.deepEqual(
    [queue.firstPosition, queue.position, queue.etaSeconds, queue.available],
    [50, 3, null, 300],
  );

  socket.receive({ type: 'queue-entry-allowed', eventId: '1', expiresAt: 99, pass: 'p' });
  socket.receive({ type: 'queue-updated', ...told(2) });
  assert.deepEqual([queue.status, queue.position, queue.expiresAt, queue.pass], ['admitted', null, 99, 'p']);

  socket.receive({ type: 'queue-left', eventId: '1', reason: 'expired' });
  assert.deepEqual(changes.at(-1), ['admitted', 'none', 'expired']);
});

test('the place is known while the line is down, and resumed', async () => {
  const { socket, queue } = await waiting();
  socket.end(1006);
  assert.deepEqual([queue.status, queue.position], ['waiting', 50]);
  await pass(1000);
  const next = accept();
  assert.deepEqual(next.sent[0].resume['queue:1'], { epoch: 'E', offset: 0 });

  next.receive(restored({ status: 'waiting', ...told(40, { available: undefined }) }));
  assert.deepEqual([queue.firstPosition, queue.position, queue.available], [50, 40, 300]);
});

test('a place that is gone when the line is back is lost', async () => {
  const { socket, queue, changes } = await waiting();
  (await again(socket)).receive(restored(null, [{ room: 'queue:1', error: 'forbidden' }]));

  assert.equal(queue.status, 'none');
  assert.deepEqual(changes.at(-1), ['waiting', 'none', 'lost']);
});

test('a place is asked for where the session tells of another one', async () => {
  const { socket, queue } = await waiting();
  const next = await again(socket);
  next.receive(restored({ status: 'waiting', ...told(1), eventId: '2' }));

  assert.equal(queue.status, 'waiting');
  assert.equal(next.of('join-queue').length, 1);
});

test('a place that nobody here asked about is known before it is asked for', async () => {
  const { client } = await start();
  accept().receive(restored({ eventId: '1', status: 'admitted', expiresAt: null, pass: 'p' }));

  assert.equal(client.queue(1).status, 'admitted');
});

test('a place that another tab took is known', async () => {
  const { client } = await start();
  accept().receive({ type: 'queue-updated', ...told(7) });

  assert.deepEqual([client.queue('1').status, client.queue('1').position], ['waiting', 7]);
});

test('leaving leaves the room, also where another tab did', async () => {
  const { client, socket } = await waiting();
  assert.ok(client.rooms.includes('queue:1'));
  socket.receive({ type: 'queue-left', eventId: '1' });

  assert.ok(!client.rooms.includes('queue:1'));
});
