/** Messages once and in order: over reconnects, reloads, epochs, and where that cannot be. */

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { accept, CONNECTED, FakeWebSocket, fresh, joined, message, pass, settle, start } from './fakes.mjs';

beforeEach(fresh);

const restored = (room, more) => ({
  type: 'session-restored',
  session: {
    eventId: '1',
    queueEventId: null,
    seatEventId: null,
    selectedSeats: [],
    lastActivity: null,
    data: {},
  },
  rooms: [{ room, epoch: 'E', offset: 58, recovered: true, missed: 3, ...more }],
  queue: null,
  seats: null,
});
const offsets = (events) => events.filter(([type]) => type === 'message').map(([, m]) => m.offset);

test('the first frame brings the token, and no resume where nothing is known', async () => {
  await start();
  FakeWebSocket.last.open();

  assert.deepEqual(FakeWebSocket.last.sent, [{ type: 'auth', token: 'token-1' }]);
  assert.equal(FakeWebSocket.last.url, 'ws://test/ws');
});

test('messages are delivered in order, and doubles dropped', async () => {
  const { socket, events } = await joined(55);

  for (const offset of [55, 56, 56, 57, 3, 58]) socket.receive(message(offset));

  assert.deepEqual(offsets(events), [56, 57, 58]);
});

test('a message of a room that was not joined is not delivered', async () => {
  const { socket, events } = await joined(55);

  socket.receive(message(1, { room: 'event:other' }));

  assert.deepEqual(offsets(events), []);
});

test('after a drop the next line resumes where the last one ended, and replaces it', async () => {
  const { socket, events } = await joined(55);
  socket.receive(message(56));
  socket.end(1006);
  await pass(1000);
  const next = FakeWebSocket.last;
  next.open();

  assert.equal(next.url, 'ws://test/ws?returning=1');
  assert.deepEqual(next.sent[0], {
    type: 'auth',
    token: 'token-1',
    resume: { 'user:mina': { epoch: 'E', offset: 7 }, 'event:1': { epoch: 'E', offset: 56 } },
    replaces: 's-1',
  });

  next.receive({ ...CONNECTED, userRoom: { room: 'user:mina', epoch: 'E', offset: 9 } });
  next.receive(restored('event:1', { offset: 58, missed: 2 }));
  next.receive({ ...message(8), room: 'user:mina' });
  next.receive(message(57));
  next.receive(message(58));
  next.receive(message(59));

  assert.deepEqual(offsets(events), [56, 8, 57, 58, 59]);
});

test("a reload resumes from the storage, and does not replace a socket that may be another tab's", async () => {
  const { socket, storage } = await joined(55);
  socket.receive(message(56));
  await pass(1000);
  FakeWebSocket.all = [];
  await start({ storage });
  FakeWebSocket.last.open();

  assert.deepEqual(FakeWebSocket.last.sent[0].resume['event:1'], { epoch: 'E', offset: 56 });
  assert.equal(FakeWebSocket.last.sent[0].replaces, undefined);
});

test("another user's storage key is another memory", async () => {
  const { storage } = await joined(55);
  await pass(1000);
  await start({ storage, storageKey: 'keepseat:other' });
  FakeWebSocket.last.open();

  assert.equal(FakeWebSocket.last.sent[0].resume, undefined);
});

test('an epoch that begins without loss moves the position, silently', async () => {
  const { socket, events } = await joined(55);
  socket.receive(message(56, { epoch: 'F' }));
  socket.receive(message(57));
  socket.end(1006);
  await pass(1000);
  FakeWebSocket.last.open();

  assert.deepEqual(offsets(events), [56, 57]);
  assert.deepEqual(FakeWebSocket.last.sent[0].resume['event:1'], { epoch: 'F', offset: 57 });
});

test('a gap is not delivered: the line is left, and the next one resumes before the gap', async () => {
  const { socket, events, client } = await joined(55);

  socket.receive(message(58));
  socket.receive(message(59));

  assert.equal(client.state, 'reconnecting');
  assert.deepEqual(offsets(events), []);
  await pass(1000);
  FakeWebSocket.last.open();
  assert.deepEqual(FakeWebSocket.last.sent[0].resume['event:1'], { epoch: 'E', offset: 55 });
});

test('another epoch that is not said to begin is a gap', async () => {
  const { socket, client } = await joined(55);

  socket.receive(message(57, { epoch: 'F' }));

  assert.equal(client.isReconnecting, true);
});

test('room-reset is told, and the room goes on from there', async () => {
  const { socket, events } = await joined(55);

  socket.receive({ type: 'room-reset', room: 'event:1', epoch: 'F', offset: 70 });
  socket.receive(message(71));

  assert.deepEqual(events.at(-2), [
    'room-reset',
    { type: 'room-reset', room: 'event:1', epoch: 'F', offset: 70, cause: 'server' },
  ]);
  assert.deepEqual(offsets(events), [71]);
});

test('a position too old to resume from is told as a reset', async () => {
  const { socket, events } = await joined(55);
  socket.end(1006);
  await pass(1000);
  const next = accept();
  next.receive(restored('event:1', { epoch: 'F', offset: 90, recovered: false, missed: 0 }));
  next.receive(message(91));

  assert.deepEqual(events.find(([type]) => type === 'room-reset')[1], {
    room: 'event:1',
    epoch: 'F',
    offset: 90,
    cause: 'resume',
  });
  assert.deepEqual(offsets(events), [91]);
});

test('a session restored on a device that had no position is no loss', async () => {
  const { events, client } = await start();
  const socket = accept();
  socket.receive(restored('event:1', { offset: 90, recovered: false, missed: 0 }));
  socket.receive(message(91));

  assert.equal(
    events.some(([type]) => type === 'room-reset'),
    false,
  );
  assert.deepEqual(offsets(events), [91]);
  assert.equal(client.restoredSession.session.eventId, '1');
});

test("the user's own room is no loss either where no position was given for it", async () => {
  const { events } = await start();
  accept().receive(restored('user:mina', { offset: 7, recovered: false, missed: 0 }));

  assert.equal(
    events.some(([type]) => type === 'room-reset'),
    false,
  );
});

test('positions of another user are forgotten, and the next line resumes nothing of them', async () => {
  const { storage } = await joined(55);
  await pass(1000);
  FakeWebSocket.all = [];
  const { client, states } = await start({ storage });
  accept({ userId: 'jun', userRoom: { room: 'user:jun', epoch: 'E', offset: 0 } });
  assert.equal(client.isConnected, false);
  await pass(1000);
  FakeWebSocket.last.open();

  assert.deepEqual(Object.keys(FakeWebSocket.last.sent[0]), ['type', 'token', 'replaces']);
  accept({ userId: 'jun', userRoom: { room: 'user:jun', epoch: 'E', offset: 0 } });
  assert.deepEqual(client.rooms, ['user:jun']);
  assert.deepEqual(states().at(-1), 'connected');
});

test('a room that may not be joined any more is left out', async () => {
  const { socket, client } = await joined(55);
  socket.end(1006);
  await pass(1000);
  accept().receive({ ...restored('event:1'), rooms: [{ room: 'event:1', error: 'forbidden' }] });

  assert.deepEqual(client.rooms, ['user:mina']);
});

test("a full snapshot sets the room's position", async () => {
  const { socket, events } = await joined(55);
  socket.receive({
    type: 'seats-snapshot',
    room: 'seats:1',
    epoch: 'E',
    offset: 4,
    eventId: '1',
    snapshot: { total: 0, held: [], sold: [] },
  });
  socket.receive({ type: 'seats-updated', room: 'seats:1', offset: 5, eventId: '1', seats: {} });

  assert.deepEqual(events.at(-1)[0], 'seats-updated');
});

test('joining another event leaves the one before; leaving leaves', async () => {
  const { socket, client } = await joined(55);
  const answer = client.joinEvent(2);
  const { id } = socket.of('join-event')[1];
  socket.receive({
    type: 'event-joined',
    id,
    eventId: '2',
    room: 'event:2',
    epoch: 'E',
    offset: 0,
    userCount: 1,
  });
  await answer;
  assert.deepEqual(client.rooms, ['user:mina', 'event:2']);

  const left = client.leaveEvent(2);
  socket.receive({ type: 'event-left', id: socket.of('leave-event')[0].id, eventId: '2' });
  await left;
  assert.deepEqual(client.rooms, ['user:mina']);
});

test('joining again does not move a position that messages under way still need', async () => {
  const { socket, client, events } = await joined(55);
  client.joinEvent(1);
  const { id } = socket.of('join-event')[1];
  socket.receive({
    type: 'event-joined',
    id,
    eventId: '1',
    room: 'event:1',
    epoch: 'E',
    offset: 57,
    userCount: 1,
  });
  socket.receive(message(56));
  socket.receive(message(57));

  assert.deepEqual(offsets(events), [56, 57]);
});

test('joining with a position starts after it', async () => {
  const { client, events } = await start();
  const socket = accept();
  client.joinRoom('chat:1', { since: { epoch: 'E', offset: 3 } });
  const [{ id, since }] = socket.of('join-room');
  socket.receive({
    type: 'room-joined',
    id,
    room: 'chat:1',
    epoch: 'E',
    offset: 5,
    recovered: true,
    missed: 2,
  });
  for (const offset of [4, 5, 6]) socket.receive({ ...message(offset), room: 'chat:1' });
  await settle();

  assert.deepEqual(since, { epoch: 'E', offset: 3 });
  assert.deepEqual(offsets(events), [4, 5, 6]);
});

test('what has no offset is told without being judged', async () => {
  const { socket, events } = await joined(55);
  socket.receive({ type: 'room-info', eventId: '1', userCount: 12 });

  assert.deepEqual(events.at(-1), ['room-info', { type: 'room-info', eventId: '1', userCount: 12 }]);
});

test('forgetting leaves no position behind', async () => {
  const { client, storage } = await joined(55);
  client.close({ forget: true });

  assert.deepEqual(client.rooms, []);
  assert.equal(storage.getItem('keepseat'), '{}');
});
