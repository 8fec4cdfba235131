/** A WebSocket, a storage and a clock that the tests hold in their hands. */

import { mock } from 'node:test';

import { connect } from '../../../static/keepseat/client.js';

export class FakeWebSocket {
  static CONNECTING = 0;
  static OPEN = 1;
  static CLOSED = 3;
  /** @type {FakeWebSocket[]} */
  static all = [];

  readyState = FakeWebSocket.CONNECTING;
  onopen = null;
  onmessage = null;
  onclose = null;
  sent = [];
  closedWith = undefined;

  constructor(url) {
    this.url = String(url);
    FakeWebSocket.all.push(this);
  }

  static get last() {
    return FakeWebSocket.all.at(-1);
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close(code) {
    this.readyState = FakeWebSocket.CLOSED;
    this.closedWith = code;
  }

  open() {
    this.readyState = FakeWebSocket.OPEN;
    this.onopen?.({});
  }

  receive(frame) {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }

  end(code, reason = '') {
    this.readyState = FakeWebSocket.CLOSED;
    this.onclose?.({ code, reason });
  }

  /** What was sent of this type. */
  of(type) {
    return this.sent.filter((frame) => frame.type === type);
  }
}

export class FakeStorage {
  items = new Map();

  getItem(key) {
    return this.items.get(key) ?? null;
  }

  setItem(key, value) {
    this.items.set(key, value);
  }
}

/** Web Locks: one holder of a name at a time, the others in line. */
export class FakeLocks {
  held = new Map();

  async request(name, { ifAvailable = false }, use) {
    const before = this.held.get(name);
    if (before && ifAvailable) return use(null);
    const used = (before ?? Promise.resolve()).then(() => use({ name }));
    const over = used
      .catch(() => {})
      .then(() => {
        if (this.held.get(name) === over) this.held.delete(name);
      });
    this.held.set(name, over);
    return used;
  }
}

export const CONNECTED = {
  type: 'connected',
  socketId: 's-1',
  userId: 'mina',
  role: 'user',
  instance: 'i-1',
  serverTime: 0,
  tokenExpiresAt: 0,
  pingIntervalMs: 25000,
  protocol: 1,
  userRoom: { room: 'user:mina', epoch: 'E', offset: 7 },
};

/** Let what hangs on promises happen. */
export async function settle() {
  for (let i = 0; i < 50; i++) await Promise.resolve();
}

/** Let time pass, with what it brings. */
export async function pass(ms) {
  mock.timers.tick(ms);
  await settle();
}

/** Call before each test. */
export function fresh() {
  mock.timers.reset();
  mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  FakeWebSocket.all = [];
  globalThis.WebSocket = FakeWebSocket;
  Object.defineProperty(globalThis, 'navigator', { value: { locks: new FakeLocks() }, configurable: true });
  const page = new EventTarget();
  globalThis.window = page;
  globalThis.addEventListener = page.addEventListener.bind(page);
}

/** A client whose first socket is being opened, and a record of its events. */
export async function start(options = {}) {
  const storage = options.storage ?? new FakeStorage();
  const client = connect({
    url: 'ws://test/ws',
    getToken: async () => 'token-1',
    backoff: (failures) => 1000 * 2 ** failures,
    ...options,
    storage,
  });
  const events = [];
  for (const type of [
    'state',
    'connected',
    'session-restored',
    'message',
    'room-reset',
    'room-info',
    'seats-updated',
  ]) {
    client.on(type, (detail) => events.push(type === 'state' ? [type, detail.state] : [type, detail]));
  }
  await settle();
  return { client, storage, events, states: () => events.filter(([t]) => t === 'state').map(([, s]) => s) };
}

/** Let the newest socket be accepted. */
export function accept(more = {}) {
  FakeWebSocket.last.open();
  FakeWebSocket.last.receive({ ...CONNECTED, ...more });
  return FakeWebSocket.last;
}

/** The one event of a client that is joined to `event:1` at the offset. */
export async function joined(offset = 55, options = {}) {
  const started = await start(options);
  const socket = accept();
  const answer = started.client.joinEvent('1');
  const { id } = socket.of('join-event')[0];
  socket.receive({
    type: 'event-joined',
    id,
    eventId: '1',
    room: 'event:1',
    epoch: 'E',
    offset,
    userCount: 1,
  });
  await answer;
  return { ...started, socket };
}

export function message(offset, more = {}) {
  return { type: 'message', room: 'event:1', offset, data: offset, sentAt: 0, ...more };
}
