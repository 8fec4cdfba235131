/** Coming back: states, backoff, close codes, tokens, and a line that died without a word. */

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { accept, FakeWebSocket, fresh, pass, settle, start } from './fakes.mjs';

beforeEach(fresh);

test('connecting, connected, reconnecting, connected', async () => {
  const { client, states } = await start();
  assert.equal(client.state, 'connecting');
  accept();
  assert.equal(client.isConnected, true);
  FakeWebSocket.last.end(1006);
  assert.equal(client.isReconnecting, true);
  await pass(1000);
  accept();

  assert.deepEqual(states(), ['connected', 'reconnecting', 'connected']);
});

test('disconnected after five failed tries, and it goes on trying', async () => {
  const { client, states } = await start();
  accept().end(1006);
  for (let tries = 1; tries <= 4; tries++) {
    await pass(30_000);
    FakeWebSocket.last.end(1006);
    assert.equal(client.state, 'reconnecting');
  }
  await pass(30_000);
  FakeWebSocket.last.end(1006);
  assert.equal(client.state, 'disconnected');

  await pass(60_000);
  assert.equal(client.state, 'disconnected');
  accept();
  assert.deepEqual(states(), ['connected', 'reconnecting', 'disconnected', 'connected']);
});

test('backoff grows until a line has been stable for 10 s', async () => {
  const waits = [];
  await start({ backoff: (failures) => waits.push(failures) && 1000 });
  for (let i = 0; i < 3; i++) {
    accept();
    await pass(9_000);
    FakeWebSocket.last.end(1006);
    await pass(1_000);
  }
  accept();
  FakeWebSocket.last.receive({ type: 'pong' });
  for (let i = 0; i < 3; i++) {
    await pass(4_000);
    FakeWebSocket.last.receive({ type: 'pong' });
  }
  FakeWebSocket.last.end(1006);

  assert.deepEqual(waits, [0, 1, 2, 0]);
});

test('a try that is not answered ends after the connect timeout', async () => {
  const { client } = await start();
  FakeWebSocket.last.open();
  await pass(10_000);
  assert.equal(FakeWebSocket.last.closedWith, 1000);
  await pass(1_000);

  assert.equal(FakeWebSocket.all.length, 2);
  assert.equal(client.state, 'connecting');
});

test('what an old socket still brings is ignored', async () => {
  const { client, events } = await start();
  const old = accept();
  const { onmessage, onclose } = old;
  old.end(1006);
  await pass(1000);
  accept();
  const before = events.length;
  onmessage({ data: JSON.stringify({ type: 'room-info', eventId: '1', userCount: 9 }) });
  onclose({ code: 3000, reason: 'token_revoked' });
  old.end(4000);

  assert.equal(client.state, 'connected');
  assert.equal(events.filter(([type]) => type === 'state').length, 3);
  assert.ok(before <= events.length);
});

test('a line that is silent is asked, and left within 10 s if it does not answer', async () => {
  const { client } = await start();
  const socket = accept();
  await pass(5_000);
  assert.equal(socket.of('ping').length, 1);
  socket.receive({ type: 'pong' });
  await pass(4_500);
  assert.equal(client.state, 'connected');
  await pass(5_000);
  assert.equal(socket.of('ping').length, 2);
  await pass(4_500);

  assert.equal(client.state, 'reconnecting');
  assert.equal(socket.closedWith, 1000);
});

test('the silence that ends a line is counted from its last frame', async () => {
  const { client } = await start();
  const socket = accept();
  await pass(5_000);
  socket.receive({ type: 'pong' });
  await pass(4_000);
  socket.receive({ type: 'room-info', eventId: '1', userCount: 2 });
  // in steps: the clock of a timer that fires within one is already at its end
  for (let ms = 0; ms < 9_400; ms += 100) await pass(100);
  assert.equal(client.state, 'connected');
  await pass(100);

  assert.equal(client.state, 'reconnecting');
});

test('a line that brings frames is asked now and then, for its round trip alone', async () => {
  const { client } = await start();
  const socket = accept();
  for (let i = 0; i < 30; i++) {
    await pass(2_000);
    socket.receive({ type: 'room-info', eventId: '1', userCount: i });
  }

  assert.equal(socket.of('ping').length, 3);
  assert.equal(client.state, 'connected');
});

test('a server that has no room says how long to stay away; the backoff begins after that', async () => {
  await start();
  FakeWebSocket.last.open();
  FakeWebSocket.last.receive({ type: 'error', code: 'unavailable', details: { retryAfterMs: 20_000 } });
  FakeWebSocket.last.end(1013, 'unavailable');
  page('online');
  await pass(20_999);
  assert.equal(FakeWebSocket.all.length, 1);
  await pass(1);
  assert.equal(FakeWebSocket.all.length, 2);

  FakeWebSocket.last.end(1006);
  await pass(2_000);
  assert.equal(FakeWebSocket.all.length, 3);
});

test('a server that leaves says when to come back, and is believed', async () => {
  const { client } = await start();
  const socket = accept();
  socket.receive({ type: 'reconnect', reason: 'shutdown', delayMs: 7_000 });
  assert.equal(client.state, 'connected');
  socket.end(1012, 'restart');
  assert.equal(client.state, 'reconnecting');
  await pass(6_999);
  assert.equal(FakeWebSocket.all.length, 1);
  await pass(1);
  assert.equal(FakeWebSocket.all.length, 2);
});

test('a server that leaves but does not close is left at the time told', async () => {
  const { states } = await start();
  const socket = accept();
  socket.receive({ type: 'reconnect', reason: 'shutdown', delayMs: 3_000 });
  await pass(3_000);

  assert.equal(socket.closedWith, 1000);
  assert.equal(FakeWebSocket.all.length, 2);
  assert.deepEqual(states(), ['connected', 'reconnecting']);
});

for (const code of [1003, 1007, 1009, 3003, 4000]) {
  test(`after ${code} it does not come back by itself, but when asked`, async () => {
    const { client } = await start();
    accept().end(code, 'why');
    await pass(600_000);
    assert.equal(client.state, 'disconnected');
    assert.equal(FakeWebSocket.all.length, 1);

    client.reconnect();
    await settle();
    accept();
    assert.equal(client.state, 'connected');
  });
}

test('after 1008 it waits a minute', async () => {
  await start();
  accept().end(1008);
  await pass(59_999);
  assert.equal(FakeWebSocket.all.length, 1);
  await pass(1);
  assert.equal(FakeWebSocket.all.length, 2);
});

/** The tab that refreshes keeps its lock for a moment. */
async function refreshed() {
  await settle();
  await pass(50);
}

test('an expired token is refreshed once, and then it is over', async () => {
  const wishes = [];
  const getToken = async (wish) => wishes.push(wish) && `token-${wishes.length}`;
  const { client, states } = await start({ getToken });
  accept().end(3000, 'token_expired');
  await pass(0);
  await refreshed();
  FakeWebSocket.last.open();
  assert.equal(FakeWebSocket.last.sent[0].token, 'token-2');
  assert.deepEqual(wishes[1], { refresh: true, refused: 'token-1' });

  FakeWebSocket.last.end(3000, 'token_expired');
  await pass(600_000);
  assert.equal(client.state, 'signed-out');
  assert.equal(FakeWebSocket.all.length, 2);
  assert.deepEqual(states(), ['connected', 'reconnecting', 'signed-out']);
});

test('a connection that lives resets the one try to refresh', async () => {
  const { client } = await start();
  for (let i = 0; i < 3; i++) {
    accept().end(3000, 'token_expired');
    await pass(0);
    await refreshed();
  }
  accept();
  assert.equal(client.state, 'connected');
});

for (const reason of ['token_invalid', 'token_revoked', 'token_required', 'user_mismatch']) {
  test(`${reason} signs out`, async () => {
    const { client } = await start();
    FakeWebSocket.last.open();
    FakeWebSocket.last.end(3000, reason);
    await pass(600_000);

    assert.equal(client.state, 'signed-out');
    assert.equal(FakeWebSocket.all.length, 1);
    await assert.rejects(client.joinEvent(1), { code: 'closed' });
  });
}

test('nobody is signed in: nothing is opened', async () => {
  const { client } = await start({ getToken: async () => null });

  assert.equal(client.state, 'signed-out');
  assert.equal(FakeWebSocket.all.length, 0);
});

test('a token that cannot be had now is asked for again', async () => {
  let calls = 0;
  const getToken = async () => {
    calls += 1;
    if (calls === 1) throw new TypeError('no network');
    return 'token';
  };
  const { client } = await start({ getToken });
  assert.equal(client.state, 'connecting');
  await pass(1000);
  accept();

  assert.equal(client.state, 'connected');
});

test('a getToken that hangs is given up', async () => {
  let calls = 0;
  const getToken = () => (++calls === 1 ? new Promise(() => {}) : Promise.resolve('token'));
  await start({ getToken });
  await pass(15_000);
  await pass(1_000);
  accept();

  assert.equal(calls, 2);
});

test('a token that is about to expire is renewed on the open line', async () => {
  let calls = 0;
  const { client } = await start({ getToken: async () => `token-${++calls}` });
  const socket = accept();
  socket.receive({ type: 'token-expiring', expiresAt: 1 });
  await refreshed();

  assert.deepEqual(
    socket.of('auth').map((frame) => frame.token),
    ['token-1', 'token-2'],
  );
  assert.equal(client.state, 'connected');
});

test('a renewal that fails is tried again on the same line', async () => {
  let calls = 0;
  const getToken = async () => {
    calls += 1;
    if (calls === 2) throw new TypeError('no network');
    return `token-${calls}`;
  };
  const { client } = await start({ getToken });
  const socket = accept();
  socket.receive({ type: 'token-expiring', expiresAt: 1 });
  await refreshed();
  assert.equal(socket.of('auth').length, 1);
  await pass(5_000);
  await refreshed();

  assert.deepEqual(
    socket.of('auth').map((frame) => frame.token),
    ['token-1', 'token-3'],
  );
  assert.equal(client.state, 'connected');
});

test('tokens that are always about to expire are not renewed without a pause', async () => {
  let calls = 0;
  await start({ getToken: async () => `token-${++calls}` });
  const socket = accept();
  socket.receive({ type: 'token-expiring', expiresAt: 1 });
  await refreshed();
  socket.receive({ type: 'token-expiring', expiresAt: 1 });
  await pass(4_000);
  await refreshed();
  assert.equal(calls, 2);
  await pass(1_000);
  await refreshed();

  assert.equal(calls, 3);
});

test('closing is final', async () => {
  const { client } = await start();
  const socket = accept();
  client.close();
  client.close();
  client.reconnect();
  await pass(600_000);

  assert.equal(socket.closedWith, 1000);
  assert.equal(client.state, 'disconnected');
  assert.equal(FakeWebSocket.all.length, 1);
});

/** What the page and its network say. */
function page(type) {
  globalThis.window.dispatchEvent(new Event(type));
}

test('online: at once, also in place of a try that hangs on the old network', async () => {
  const { client } = await start();
  accept().end(1006);
  page('online');
  await settle();
  assert.equal(FakeWebSocket.all.length, 2);
  page('online');
  await settle();
  assert.equal(FakeWebSocket.all.length, 3);
  accept();

  assert.equal(client.state, 'connected');
});

test('online does not shorten a pause that the server has asked for', async () => {
  await start();
  accept().end(1008);
  page('online');
  await settle();

  assert.equal(FakeWebSocket.all.length, 1);
});

test('offline: the line is gone, whether or not it says so', async () => {
  const { client } = await start();
  const socket = accept();
  page('offline');

  assert.equal(client.state, 'reconnecting');
  assert.equal(socket.closedWith, 1000);
});

test('a page that goes lets go of its line, and takes it up when it is shown again', async () => {
  const { client, storage } = await start();
  const socket = accept();
  page('pagehide');
  assert.equal(socket.closedWith, 1000);
  assert.match(storage.getItem('keepseat'), /user:mina/);
  page('pageshow');
  await settle();
  accept();

  assert.equal(client.state, 'connected');
});

test('a page that is shown does not disturb its first try', async () => {
  await start();
  page('pageshow');
  await settle();

  assert.equal(FakeWebSocket.all.length, 1);
});
