/** A room as an object: where it is, and `for await` over what comes. */

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { accept, FakeWebSocket, fresh, joined, message, pass, settle, start } from './fakes.mjs';

beforeEach(fresh);

const restored = (rooms) => ({ type: 'session-restored', session: {}, rooms, queue: null, seats: null });

/** What a loop over the messages has read so far, and how it ended. */
function reading(messages) {
  const read = [];
  const over = (async () => {
    for await (const frame of messages) read.push(frame.type === 'message' ? frame.offset : frame.type);
  })();
  return { read, over };
}

/** Drop the line, and come back with what was missed. */
async function comeBack(socket, told, ...missed) {
  socket.end(1006);
  await pass(1000);
  const next = accept();
  next.receive(restored([{ room: 'event:1', epoch: 'E', recovered: true, missed: missed.length, ...told }]));
  for (const offset of missed) next.receive(message(offset));
  return next;
}

test('a loop over a room goes on over reconnects, each message once and in order', async () => {
  const { client, socket } = await joined(55);
  const { read, over } = reading(client.room('event:1'));
  socket.receive(message(56));
  await settle();
  const next = await comeBack(socket, { offset: 58 }, 57, 58);
  next.receive(message(58));
  next.receive(message(59));
  client.close();
  await over;

  assert.deepEqual(read, [56, 57, 58, 59]);
});

test('where messages are lost, the loop is told in their place', async () => {
  const { client, socket } = await joined(55);
  const { read, over } = reading(client.room('event:1').messages());
  const next = await comeBack(socket, { offset: 90, recovered: false });
  next.receive(message(91));
  next.receive({ type: 'room-reset', room: 'event:1', epoch: 'F', offset: 3 });
  next.receive(message(4));
  client.close();
  await over;

  assert.deepEqual(read, ['room-reset', 91, 'room-reset', 4]);
});

test('what comes between asking and reading is not lost', async () => {
  const { client, socket } = await joined(55);
  const messages = client.room('event:1').messages();
  socket.receive(message(56));

  assert.equal((await messages.next()).value.offset, 56);
});

test('a loop ends when its room is left, by whatever command', async () => {
  const { client, socket } = await joined(55);
  const one = reading(client.room('event:1'));
  client.joinEvent('2');
  const [, { id }] = socket.of('join-event');
  const told = { eventId: '2', room: 'event:2', epoch: 'E', offset: 0, userCount: 4 };
  socket.receive({ type: 'event-joined', id, ...told });
  await one.over;
  assert.deepEqual(
    [client.room('event:1').isJoined, client.room('event:2').isJoined, client.room('event:2').userCount],
    [false, true, 4],
  );

  const two = reading(client.room('event:2'));
  const left = client.room('event:2').leave();
  socket.receive({ type: 'event-left', id: socket.of('leave-event')[0].id, eventId: '2' });
  await Promise.all([left, two.over]);
});

test('a loop ends when the server does not let us in again', async () => {
  const { client, socket } = await joined(55);
  const { over } = reading(client.room('event:1'));
  socket.end(1006);
  await pass(1000);
  accept().receive(restored([{ room: 'event:1', error: 'forbidden' }]));

  await over;
});

test('a loop ends by its signal, and at once where that or the client has ended', async () => {
  const { client, socket } = await joined(55);
  const stop = new AbortController();
  const { read, over } = reading(client.room('event:1').messages({ signal: stop.signal }));
  socket.receive(message(56));
  stop.abort();
  socket.receive(message(57));
  await over;
  assert.deepEqual(read, [56]);

  await reading(client.room('event:1').messages({ signal: stop.signal })).over;
  client.close();
  await reading(client.room('event:1')).over;
});

test('a loop that does not read is ended with an error, and the others are not', async () => {
  const { client, socket } = await joined(0);
  const { read, over } = reading(client.room('event:1'));
  const messages = client.room('event:1').messages();
  for (let offset = 1; offset <= 1_100; offset++) {
    socket.receive(message(offset));
    await settle();
  }

  await assert.rejects(messages.next(), { code: 'slow_reader' });
  assert.equal(read.length, 1_100);
  client.close();
  await over;
});

test('the position moves with what was seen; the count with what was said', async () => {
  const { client, socket } = await joined(55);
  const room = client.room('event:1');
  const seen = [];
  room.addEventListener('message', ({ detail }) => seen.push(detail.offset));
  socket.receive(message(56));
  socket.receive({ type: 'room-info', eventId: '1', userCount: 7 });

  assert.deepEqual([room.position, room.userCount, seen], [{ epoch: 'E', offset: 56 }, 7, [56]]);
  assert.equal(client.room('event:1'), room);
  assert.equal(client.room('event:9').position, null);
});

test("what is told of a line is no news of the event's room", async () => {
  const { client, socket } = await joined(55);
  const told = [];
  for (const name of ['event:1', 'queue:1']) {
    client.room(name).addEventListener('queue-updated', () => told.push(name));
  }
  socket.receive({ type: 'queue-updated', eventId: '1', position: 3, total: 9, etaSeconds: null });

  assert.deepEqual(told, ['queue:1']);
});

test('each kind of room is joined by its own command', async () => {
  const { client } = await start();
  const socket = accept();
  for (const name of ['event:1', 'queue:2', 'seats:3', 'chat:a:b']) client.room(name).join().catch(() => {});
  client.room('chat:a:b').publish('hi').catch(() => {});

  assert.deepEqual(
    socket.sent.slice(1).map(({ type, eventId, room }) => [type, eventId ?? room]),
    [
      ['join-event', '1'],
      ['join-queue', '2'],
      ['join-seats', '3'],
      ['join-room', 'chat:a:b'],
      ['publish', 'chat:a:b'],
    ],
  );
  FakeWebSocket.all = [];
});
