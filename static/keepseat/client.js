/**
 * The browser's client: one signed-in connection that outlives networks, servers and reloads.
 *
 *     const client = connect({ getToken: async () => localStorage.token });
 *     client.on('message', ({ room, data }) => console.log(room, data));
 *     await client.joinEvent('123');
 *
 * Every frame of the server that is no answer is dispatched as a `CustomEvent` of its `type`, the frame as its
 * `detail`; the messages of a room come each once and in order. Beside them there is `state`, and `room-reset`
 * comes also where a position was too old to resume from. `queue()` and `seats()` keep what the frames say of an
 * event's waiting room and seats; they know of a frame after those who listen here.
 */

import { backoffDelay } from './backoff.js';
import { CommandError, Commands } from './commands.js';
import { Connection } from './connection.js';
import { watchPage } from './page-life.js';
import { Queue } from './queue.js';
import { Rooms } from './rooms.js';
import { Seats } from './seats.js';
import { ServerClock } from './server-clock.js';

/** @import { Connected, EventJoined, Events, Frame, Options, Position, RoomJoined, SessionRestored } from './types.js' */
/** @typedef {{ since?: Position, timeoutMs?: number }} JoinOptions `timeoutMs: Infinity` waits as long as it takes */
/** @typedef {{ timeoutMs?: number, isRepeatable?: boolean }} CommandOptions
 * not `isRepeatable`: reject with `interrupted` rather than send it again on the next line */

const DEFAULTS = {
  storageKey: 'keepseat',
  commandTimeoutMs: 10_000,
  connectTimeoutMs: 10_000,
  idleMs: 5_000,
  deadMs: 9_500,
  backoff: backoffDelay,
};

/**
 * Start connecting, and go on until `close()`, or until the token is refused.
 *
 * @param {Options} options
 */
export function connect(options) {
  return new Client(options);
}

export class Client extends EventTarget {
  #commands = new Commands();
  #page = new AbortController();
  #clock = new ServerClock();
  /** By event. @type {Map<string, Queue>} */
  #queues = new Map();
  /** By event. @type {Map<string, Seats>} */
  #seats = new Map();
  #commandTimeoutMs;
  #connection;
  #rooms;

  /** What the server said when it let us in, the last time. @type {Connected | null} */
  connected = null;
  /** What the server said when it restored the session, the last time. @type {SessionRestored | null} */
  restoredSession = null;

  /** @param {Options} options */
  constructor(options) {
    super();
    const url = options.url ?? new URL('/ws', location.href.replace(/^http/, 'ws'));
    const settings = { ...DEFAULTS, ...options, url };
    this.#commandTimeoutMs = settings.commandTimeoutMs;
    this.#rooms = new Rooms(
      options.storage === undefined ? tabStorage() : options.storage,
      settings.storageKey,
    );
    const connection = new Connection(settings, {
      // the socket before is known from memory only: a browser copies the storage into a duplicated tab
      hello: () => ({ resume: this.#rooms.askToResume(), replaces: this.connected?.socketId }),
      onFrame: (frame) => this.#receive(frame),
      onState: (change) => this.#change(change),
    });
    this.#connection = connection;
    const page = {
      hurry: (/** @type {boolean} */ afresh) => connection.hurry(afresh),
      abandon: (/** @type {string} */ reason) => connection.abandon(reason),
      save: () => this.#rooms.save(),
    };
    watchPage(page, this.#page.signal);
    connection.open();
  }

  get state() {
    return this.#connection.state;
  }

  get isConnected() {
    return this.state === 'connected';
  }

  get isReconnecting() {
    return this.state === 'reconnecting';
  }

  /** The rooms that this client is in, or will be in again when it is back. */
  get rooms() {
    return this.#rooms.names;
  }

  /** The server's clock, by which holds and admissions end. @returns {number} Unix milliseconds */
  serverNow() {
    return this.#clock.now();
  }

  /** The user's place in an event's waiting room; always the same object. @param {string | number} eventId */
  queue(eventId) {
    return entry(this.#queues, String(eventId), (id) => new Queue(this, id));
  }

  /** The seats of an event; always the same object. @param {string | number} eventId */
  seats(eventId) {
    return entry(this.#seats, String(eventId), (id) => new Seats(this, id));
  }

  /**
   * `addEventListener`, with the `detail` as argument.
   *
   * @template {string} T
   * @param {T} type
   * @param {(detail: T extends keyof Events ? Events[T] : Frame) => void} listener
   * @param {AddEventListenerOptions} [options]
   */
  on(type, listener, options) {
    this.addEventListener(type, (event) => listener(/** @type {CustomEvent} */ (event).detail), options);
  }

  /** Try now, whatever was planned; also after a close that ended all trying. */
  reconnect() {
    if (!this.isConnected && !this.#page.signal.aborted) this.#connection.open();
  }

  /**
   * Leave for good.
   *
   * @param {{ forget?: boolean }} [options] `forget` the rooms and positions, too
   */
  close({ forget = false } = {}) {
    if (!this.#page.signal.aborted) {
      this.#end('closed');
      this.#connection.end('disconnected', 'closed');
    }
    if (forget) this.#rooms.forget();
  }

  // Commands wait for the connection, and are sent again where it broke before their answer.

  /**
   * @param {string | number} eventId
   * @param {JoinOptions} [options]
   * @returns {Promise<EventJoined>}
   */
  joinEvent(eventId, { since, timeoutMs } = {}) {
    return this.command('join-event', { eventId, since }, { timeoutMs });
  }

  /** @param {string | number} eventId */
  leaveEvent(eventId) {
    return this.command('leave-event', { eventId });
  }

  /**
   * @param {string} room
   * @param {JoinOptions} [options]
   * @returns {Promise<RoomJoined>}
   */
  joinRoom(room, { since, timeoutMs } = {}) {
    return this.command('join-room', { room, since }, { timeoutMs });
  }

  /** @param {string} room */
  leaveRoom(room) {
    return this.command('leave-room', { room });
  }

  /**
   * @param {string} room
   * @param {any} data
   * @param {{ key?: string, timeoutMs?: number }} [options] one `key` is published once: give your own to try
   *   again after an error that left the outcome open
   * @returns {Promise<Position & { room: string }>}
   */
  publish(room, data, { key = newKey(), timeoutMs } = {}) {
    return this.command('publish', { room, data, key }, { timeoutMs });
  }

  /**
   * Merge into the session's own data; null removes a key.
   *
   * @param {Record<string, any>} data
   * @returns {Promise<{ data: Record<string, any> }>}
   */
  updateSession(data) {
    return this.command('update-session', { data });
  }

  /**
   * Any command of the protocol.
   *
   * @param {string} type
   * @param {Record<string, any>} [fields]
   * @param {CommandOptions} [options]
   * @returns {Promise<any>} the answer; rejects with a `CommandError`
   */
  command(type, fields = {}, { timeoutMs = this.#commandTimeoutMs, isRepeatable = true } = {}) {
    if (this.#page.signal.aborted)
      return Promise.reject(new CommandError('closed', 'this client was closed'));
    return this.#commands.add({ type, ...fields }, { timeoutMs, isRepeatable }, (text) => this.#send(text));
  }

  /** @param {string} text */
  #send(text) {
    if (this.isConnected) this.#connection.send(text);
    return this.isConnected;
  }

  /** @param {Frame} frame */
  #receive(frame) {
    if (frame.id !== undefined) {
      this.#rooms.note(frame);
      this.#commands.settle(frame);
      this.#inform(frame);
      return;
    }
    switch (frame.type) {
      case 'connected':
        this.#welcome(/** @type {any} */ (frame));
        break;
      case 'session-restored':
        this.#restore(/** @type {any} */ (frame));
        break;
      case 'room-reset':
        this.#reset(/** @type {any} */ ({ ...frame, cause: 'server' }));
        break;
      case 'seats-snapshot':
        this.#rooms.reset(/** @type {any} */ (frame));
        this.#pass(frame);
        break;
      case 'queue-left':
        // nobody here has asked for it: another tab has, or an admission is over
        this.#rooms.note(frame);
        this.#pass(frame);
        break;
      case 'pong':
        this.#clock.refine(frame);
        this.#tell(frame.type, frame);
        break;
      default:
        if (frame.room === undefined || frame.offset === undefined || this.#isNext(frame)) this.#pass(frame);
    }
  }

  /** @param {Frame} frame */
  #pass(frame) {
    this.#tell(frame.type, frame);
    this.#inform(frame);
  }

  /** Whom a frame is about hears of it, and is made where there is none yet. @param {Frame} frame */
  #inform(frame) {
    const [kind, eventId] =
      frame.type === 'room-reset' ? frame.room.split(':') : [frame.type.split('-')[0], frame.eventId];
    if (kind === 'queue') this.queue(eventId).receive(frame);
    else if (kind === 'seats') this.seats(eventId).receive(frame);
  }

  /** @param {Connected} connected */
  #welcome(connected) {
    this.connected = connected;
    this.#clock.set(connected.serverTime);
    if (!this.#rooms.begin(connected.userRoom)) {
      // another user has signed in since: nobody resumes what was somebody else's
      this.#rooms.forget();
      this.#connection.abandon('other_user');
      return;
    }
    // before anybody hears of it: what a listener commands is sent at once, and must not be sent again here
    this.#commands.resend((text) => this.#send(text));
    this.#tell('connected', connected);
  }

  /** @param {SessionRestored} restored */
  #restore(restored) {
    this.restoredSession = restored;
    const resets = this.#rooms.restore(restored);
    this.#tell('session-restored', restored);
    for (const reset of resets) this.#tell('room-reset', reset);
    if (restored.queue) this.queue(restored.queue.eventId);
    if (restored.seats) this.seats(restored.seats.eventId);
    for (const kept of [...this.#queues.values(), ...this.#seats.values()]) kept.restore(restored);
  }

  /** @param {import('./types.js').RoomReset} reset */
  #reset(reset) {
    this.#rooms.reset(reset);
    this.#tell('room-reset', reset);
    this.#inform({ ...reset, type: 'room-reset' });
  }

  /**
   * A gap is never passed in silence: the next line resumes from what was last seen in order, and the server
   * fills the gap, or says that it cannot.
   *
   * @param {Frame} publication
   */
  #isNext(publication) {
    const verdict = this.#rooms.advance(publication);
    if (verdict === 'gap') this.#connection.abandon('gap');
    return verdict === 'deliver';
  }

  /** @param {import('./types.js').StateChange} change */
  #change(change) {
    if (change.state === 'signed-out') this.#end('signed_out');
    this.#tell('state', change);
  }

  /** @param {string} code */
  #end(code) {
    this.#page.abort();
    this.#rooms.save();
    this.#commands.rejectAll(code, 'the connection has ended');
  }

  /**
   * @param {string} type
   * @param {object} detail
   */
  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/**
 * @template T
 * @param {Map<string, T>} map
 * @param {string} key
 * @param {(key: string) => T} make
 * @returns {T}
 */
function entry(map, key, make) {
  const found = map.get(key) ?? make(key);
  map.set(key, found);
  return found;
}

/** @returns {Storage | null} nothing where the browser forbids it */
function tabStorage() {
  try {
    return globalThis.sessionStorage ?? null;
  } catch {
    return null;
  }
}

/** `crypto.randomUUID` is absent on pages that came over plain HTTP from another machine. */
function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, '0'),
  ).join('');
}
