/** Commands: answered, timed out, repeated after a lost answer, and never without limit. */

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { accept, FakeWebSocket, fresh, pass, settle, start } from './fakes.mjs';

beforeEach(fresh);

test("an answer settles its command, an error rejects it with the server's code", async () => {
  const { client } = await start();
  const socket = accept();
  const good = client.updateSession({ a: 1 });
  const bad = client.publish('chat:1', 'hi');
  const [{ id }] = socket.of('publish');
  socket.receive({
    type: 'error',
    id,
    code: 'rate_limited',
    message: 'slow down',
    retryable: true,
    details: { retryAfterMs: 50 },
  });
  socket.receive({ type: 'session-updated', id: socket.of('update-session')[0].id, data: { a: 1 } });

  assert.deepEqual((await good).data, { a: 1 });
  await assert.rejects(bad, {
    name: 'CommandError',
    code: 'rate_limited',
    retryable: true,
    details: { retryAfterMs: 50 },
  });
});

test('a command given while away is sent as soon as there is a line', async () => {
  const { client } = await start();
  client.joinEvent(1);
  FakeWebSocket.last.open();
  assert.equal(FakeWebSocket.last.of('join-event').length, 0);
  accept();

  assert.equal(FakeWebSocket.last.of('join-event').length, 1);
});

test('a command given by who hears of the connection is sent once', async () => {
  const { client } = await start();
  client.on('connected', () => client.joinRoom('chat:1'));
  client.on('state', () => client.joinRoom('chat:2'), { once: true });
  accept();

  assert.deepEqual(
    FakeWebSocket.last.of('join-room').map((frame) => frame.room),
    ['chat:1', 'chat:2'],
  );
});

test('leaving again what the lost first try has left is no error', async () => {
  const { client } = await start();
  accept();
  const answer = client.leaveRoom('chat:1');
  FakeWebSocket.last.end(1006);
  await pass(1000);
  const [{ id }] = accept().of('leave-room');
  FakeWebSocket.last.receive({
    type: 'error',
    id,
    code: 'not_joined',
    message: 'not there',
    retryable: false,
  });

  await answer;
});

test('leaving what was not joined is one', async () => {
  const { client } = await start();
  accept();
  const answer = client.leaveRoom('chat:1');
  const [{ id }] = FakeWebSocket.last.of('leave-room');
  FakeWebSocket.last.receive({
    type: 'error',
    id,
    code: 'not_joined',
    message: 'not there',
    retryable: false,
  });

  await assert.rejects(answer, { code: 'not_joined' });
});

test('a publication whose answer was lost is repeated with the same key', async () => {
  const { client } = await start();
  const first = accept();
  const answer = client.publish('chat:1', { text: 'hi' });
  first.end(1006);
  await pass(1000);
  const second = accept();

  assert.deepEqual(second.of('publish'), first.of('publish'));
  assert.match(first.of('publish')[0].key, /^[0-9-]{20,64}$/);
  second.receive({ type: 'published', id: first.of('publish')[0].id, room: 'chat:1', epoch: 'E', offset: 1 });
  assert.equal((await answer).offset, 1);
});

test("two publications have two keys; the caller's own key is kept", async () => {
  const { client } = await start();
  const socket = accept();
  for (const options of [{}, {}, { key: 'mine' }]) client.publish('chat:1', 'x', options).catch(() => {});
  const keys = socket.of('publish').map((frame) => frame.key);

  assert.equal(new Set(keys).size, 3);
  assert.equal(keys[2], 'mine');
});

test('no answer in time: the outcome is open, and a late answer harms nothing', async () => {
  const { client } = await start();
  const socket = accept();
  const answer = client.publish('chat:1', 'hi');
  const rejected = assert.rejects(answer, { code: 'timeout', retryable: true });
  socket.receive({ type: 'pong' });
  await pass(4_000);
  socket.receive({ type: 'pong' });
  await pass(4_000);
  socket.receive({ type: 'pong' });
  await pass(2_000);
  await rejected;
  socket.receive({
    type: 'published',
    id: socket.of('publish')[0].id,
    room: 'event:1',
    epoch: 'E',
    offset: 99,
  });

  assert.equal(client.state, 'connected');
});

test('Infinity waits as long as it takes', async () => {
  const { client } = await start({ backoff: () => 600_000 });
  const answer = client.joinRoom('chat:1', { timeoutMs: Infinity });
  for (let i = 0; i < 20; i++) {
    FakeWebSocket.last.end(1006);
    await pass(600_000);
  }
  const socket = accept();
  socket.receive({
    type: 'room-joined',
    id: socket.of('join-room')[0].id,
    room: 'chat:1',
    epoch: 'E',
    offset: 0,
  });

  assert.equal((await answer).room, 'chat:1');
});

test('thirty commands may wait, and no more', async () => {
  const { client } = await start();
  const answers = Array.from({ length: 31 }, (_, i) => client.joinRoom(`chat:${i}`));
  answers.slice(0, 30).forEach((answer) => answer.catch(() => {}));

  await assert.rejects(answers[30], { code: 'too_many_commands' });
});

test('a frame that the server would close the line for is not sent', async () => {
  const { client } = await start();
  const socket = accept();

  await assert.rejects(client.publish('chat:1', '가'.repeat(22_000)), { code: 'too_big' });
  assert.equal(socket.of('publish').length, 0);
});

test('who does not want to wait is told at once that there is no line', async () => {
  const { client } = await start();

  await assert.rejects(client.joinEvent(1, { whenAway: 'fail' }), { code: 'not_connected', retryable: true });
  const socket = accept();
  assert.equal(socket.of('join-event').length, 0);
});

test('who does not want to wait is told when the line breaks before the answer', async () => {
  const { client } = await start();
  const socket = accept();
  const hasty = assert.rejects(client.joinRoom('chat:1', { whenAway: 'fail' }), { code: 'interrupted' });
  const patient = client.joinRoom('chat:2');
  socket.end(1006);
  await hasty;
  await pass(1000);
  const next = accept();

  assert.deepEqual(
    next.of('join-room').map(({ room }) => room),
    ['chat:2'],
  );
  next.receive({ ...next.of('join-room')[0], type: 'room-joined', epoch: 'E', offset: 0 });
  await patient;
});

test('closing and being signed out reject what waits', async () => {
  const one = await start();
  const closed = assert.rejects(one.client.joinEvent(1), { code: 'closed' });
  one.client.close();
  await closed;

  const other = await start();
  const signedOut = assert.rejects(other.client.joinEvent(1), { code: 'signed_out' });
  FakeWebSocket.last.end(3000, 'token_revoked');
  await signedOut;
  await settle();
});
