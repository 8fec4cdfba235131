/** The seats of an event: snapshots and updates in any order, holds over reconnects, and the server's clock. */

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { accept, FakeWebSocket, fresh, pass, settle, start } from './fakes.mjs';

beforeEach(fresh);

const snapshot = (held = [], sold = []) => ({ total: 10, held, sold });
const update = (offset, seats, more = {}) => ({
  type: 'seats-updated',
  room: 'seats:1',
  eventId: '1',
  offset,
  seats,
  ...more,
});
const joined = (socket, offset, more = {}) => ({
  type: 'seats-joined',
  id: socket.of('join-seats').at(-1).id,
  eventId: '1',
  room: 'seats:1',
  epoch: 'E',
  offset,
  snapshot: snapshot(),
  held: [],
  holdExpiresAt: null,
  ...more,
});
const restored = (seats, rooms = []) => ({
  type: 'session-restored',
  session: {},
  rooms: [{ room: 'user:mina', epoch: 'E', offset: 7, recovered: true, missed: 0 }, ...rooms],
  queue: null,
  seats,
});
const seatsRoom = (offset, missed) => ({ room: 'seats:1', epoch: 'E', offset, recovered: true, missed });

/** A client that is in the room of the seats at an offset. */
async function inRoom(offset = 5, more = {}) {
  const { client } = await start();
  const socket = accept({ serverTime: Date.now() });
  const seats = client.seats('1');
  const answer = seats.join();
  socket.receive(joined(socket, offset, more));
  await answer;
  const expired = [];
  seats.addEventListener('expired', ({ detail }) => expired.push(...detail.seats));
  return { client, socket, seats, expired };
}

/** The line breaks, and another one is let in. */
async function again(socket) {
  socket.end(1006);
  await pass(4000);
  return accept({ serverTime: Date.now() });
}

test('a snapshot and the updates after it give the state', async () => {
  const { socket, seats } = await inRoom(5, { snapshot: snapshot(['A-1'], ['A-2']) });
  socket.receive(update(6, { 'A-1': 'available', 'A-3': 'held', 'A-4': 'sold' }));

  assert.deepEqual(ids(seats, 1, 2, 3, 4, 5), ['available', 'sold', 'held', 'sold', 'available']);
  assert.equal(seats.available, 7);
});

const ids = (seats, ...numbers) => numbers.map((n) => seats.stateOf(`A-${n}`));

test('an update that the snapshot has seen already does no harm', async () => {
  const { socket, seats } = await inRoom(5);
  const answer = seats.join();
  // as after a reload: the room goes on from 5, the snapshot is of 7
  socket.receive(joined(socket, 7, { snapshot: snapshot(['A-1']) }));
  await answer;
  socket.receive(update(6, { 'A-1': 'sold', 'A-2': 'held' }));
  socket.receive(update(7, { 'A-1': 'held', 'A-2': 'available' }));
  socket.receive(update(8, { 'A-3': 'held' }));

  assert.deepEqual(ids(seats, 1, 2, 3), ['held', 'available', 'held']);
});

test('a snapshot that is older than what came meanwhile is not taken', async () => {
  const { socket, seats } = await inRoom(5);
  const answer = seats.join();
  socket.receive(update(6, { 'A-1': 'held' }));
  socket.receive(joined(socket, 5, { held: ['A-9'], holdExpiresAt: 9 }));
  await answer;

  assert.deepEqual(ids(seats, 1), ['held']);
  assert.deepEqual(seats.held, ['A-9']);
});

test('a hold is known from an answer, from another tab, and ends when it is paid for', async () => {
  const { socket, seats } = await inRoom();
  const answer = seats.hold(['A-1']);
  const { id } = socket.of('hold-seats')[0];
  socket.receive({ type: 'seats-held', id, eventId: '1', held: ['A-1'], holdExpiresAt: 99 });
  await answer;
  socket.receive(update(6, { 'A-1': 'held' }));
  assert.deepEqual(ids(seats, 1), ['own']);

  socket.receive({ type: 'seats-held', eventId: '1', held: ['A-1', 'A-2'], holdExpiresAt: 99 });
  assert.deepEqual(ids(seats, 1, 2), ['own', 'own']);

  socket.receive({ type: 'seats-released', eventId: '1', held: ['A-1'], holdExpiresAt: 99 });
  assert.deepEqual([seats.held, seats.holdExpiresAt], [['A-1'], 99]);

  socket.receive(update(7, { 'A-1': 'sold', 'A-2': 'available' }));
  assert.deepEqual(ids(seats, 1, 2), ['sold', 'available']);
  assert.deepEqual([seats.held, seats.holdExpiresAt], [[], null]);
});

test('an expiry is told, with the seats that it has cost', async () => {
  const { socket, seats, expired } = await inRoom(5, { held: ['A-1', 'A-2'], holdExpiresAt: 99 });
  socket.receive({ type: 'seats-expired', eventId: '1', seats: ['A-1', 'A-2'] });

  assert.deepEqual(expired, ['A-1', 'A-2']);
  assert.deepEqual([seats.held, seats.holdExpiresAt], [[], null]);
});

test('a seat that was taken again when its expiry is told stays held, until the server says otherwise', async () => {
  const { socket, seats, expired } = await inRoom(5, { held: ['A-1'], holdExpiresAt: Date.now() + 60_000 });
  socket.receive({ type: 'seats-expired', eventId: '1', seats: ['A-1'] });

  assert.deepEqual([seats.held, expired], [['A-1'], ['A-1']]);
  socket.receive(joined(socket, 5));
  assert.deepEqual(seats.held, []);
});

test('the next line resumes the room, and brings what is held', async () => {
  const { client, socket, seats, expired } = await inRoom(5);
  socket.receive(update(6, { 'A-1': 'held' }));
  const next = await again(socket);
  assert.deepEqual(next.sent[0].resume['seats:1'], { epoch: 'E', offset: 6 });
  next.receive(restored({ eventId: '1', held: ['A-1'], holdExpiresAt: 9e9 }, [seatsRoom(7, 1)]));
  next.receive(update(7, { 'A-2': 'sold' }));

  assert.deepEqual(ids(seats, 1, 2), ['own', 'sold']);
  assert.deepEqual(expired, []);
  assert.equal(client.seats('1'), seats);
});

test('a hold that ran out while the line was down is told; one that another tab released is not', async () => {
  const { socket, expired } = await inRoom(5, { held: ['A-1'], holdExpiresAt: Date.now() + 60_000 });
  const next = await again(socket);
  next.receive(restored(null, [seatsRoom(5, 0)]));
  assert.deepEqual(expired, []);

  next.receive({ type: 'seats-held', eventId: '1', held: ['A-2'], holdExpiresAt: Date.now() + 500 });
  (await again(next)).receive(restored(null, [seatsRoom(5, 0)]));
  assert.deepEqual(expired, ['A-2']);
});

test('what was lost in the store is asked for', async () => {
  const { socket, seats } = await inRoom(5);
  socket.receive({ type: 'room-reset', room: 'seats:1', epoch: 'F', offset: 3 });
  socket.receive({
    type: 'seats-snapshot',
    room: 'seats:1',
    epoch: 'F',
    offset: 3,
    eventId: '1',
    snapshot: snapshot(['A-7']),
  });
  socket.receive(update(4, { 'A-8': 'held' }));

  assert.deepEqual(ids(seats, 7, 8), ['held', 'held']);
  assert.equal(socket.of('join-seats').length, 2);
});

test('the best seats are not asked for twice', async () => {
  const { socket, seats } = await inRoom();
  const answer = assert.rejects(seats.holdBest(2, 'A'), { code: 'interrupted' });
  const next = await again(socket);
  await answer;

  assert.deepEqual(next.of('hold-best'), []);

  next.end(1006);
  seats.holdBest(2).catch(() => {});
  await pass(2000);
  accept();
  await settle();
  assert.equal(FakeWebSocket.last.of('hold-best').length, 1);
});

test("deadlines go by the server's clock", async () => {
  const { client } = await start();
  const socket = accept({ serverTime: Date.now() + 60_000 });
  assert.equal(client.serverNow() - Date.now(), 60_000);

  const t = Date.now();
  await pass(400);
  socket.receive({ type: 'pong', t, serverTime: t + 70_200 });
  assert.equal(client.serverNow() - Date.now(), 70_000);

  await pass(5_000);
  socket.receive({ type: 'pong', t, serverTime: 0 });
  assert.equal(client.serverNow() - Date.now(), 70_000);
});
