/**
 * The browser's client: one signed-in connection that outlives networks, servers and reloads.
 *
 *     const client = connect({ getToken: async () => localStorage.token });
 *     client.on('message', ({ room, data }) => console.log(room, data));
 *     await client.joinEvent('123');
 *
 * Every frame of the server that is no answer is dispatched as a `CustomEvent` of its `type`, the frame as its
 * `detail`; the messages of a room come each once and in order. Beside them there are `state` and `quality`, and
 * `room-reset` comes also where a position was too old to resume from. `room()`, `queue()` and `seats()` keep what
 * the frames say of a room, and of an event's waiting room and seats; they know of a frame after those who listen
 * here.
 */

import { backoffDelay } from './backoff.js';
import { CommandError, Commands } from './commands.js';
import { Connection } from './connection.js';
import { watchPage } from './page-life.js';
import { Quality } from './quality.js';
import { Queue } from './queue.js';
import { Room } from './room.js';
import { Rooms } from './rooms.js';
import { Seats } from './seats.js';
import { ServerClock } from './server-clock.js';

/** @import { Connected, EventJoined, Events, Frame, Options, Position, RoomJoined, SessionRestored } from './types.js' */
/** @import { CommandOptions } from './commands.js' */
/** @typedef {CommandOptions & { since?: Position }} JoinOptions `since` a position known from elsewhere */
/** @typedef {CommandOptions & { key?: string }} PublishOptions one `key` is published once: give your own to try
 * again after an error that left the outcome open */

const ENDED = 'this client has ended';
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
  #quality = new Quality();
  /** By name. @type {Map<string, Room>} */
  #roomObjects = new Map();
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
      (name) => this.#roomObjects.get(name)?.receive({ type: 'left', room: name }),
    );
    const connection = new Connection(settings, {
      // the socket before is known from memory only: a browser copies the storage into a duplicated tab
      hello: () => ({ resume: this.#rooms.askToResume(), replaces: this.connected?.socketId }),
      onFrame: (frame) => this.#receive(frame),
      onState: (change) => this.#change(change),
    });
    this.#connection = connection;
    watchPage(connection, () => this.#rooms.save(), this.#page.signal);
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

  /** Everything up to there has been seen. @param {string} room */
  positionIn(room) {
    return this.#rooms.positionIn(room);
  }

  /** How good the connection is; `quality` events tell of each change. */
  get quality() {
    return this.#quality.figures;
  }

  /** The server's clock, by which holds and admissions end. @returns {number} Unix milliseconds */
  serverNow() {
    return this.#clock.now();
  }

  /** A room; always the same object. @param {string} name such as `event:123` or `chat:lobby` */
  room(name) {
    return entry(this.#roomObjects, name, () => new Room(this, name, this.#page.signal));
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
  joinEvent(eventId, options) {
    return this.room(`event:${eventId}`).join(options);
  }

  /**
   * @param {string | number} eventId
   * @param {CommandOptions} [options]
   */
  leaveEvent(eventId, options) {
    return this.room(`event:${eventId}`).leave(options);
  }

  /**
   * @param {string} room
   * @param {JoinOptions} [options]
   * @returns {Promise<RoomJoined>}
   */
  joinRoom(room, options) {
    return this.room(room).join(options);
  }

  /**
   * @param {string} room
   * @param {CommandOptions} [options]
   */
  leaveRoom(room, options) {
    return this.room(room).leave(options);
  }

  /**
   * @param {string} room
   * @param {any} data
   * @param {PublishOptions} [options]
   * @returns {Promise<Position & { room: string }>}
   */
  publish(room, data, { key = newKey(), ...options } = {}) {
    return this.command('publish', { room, data, key }, options);
  }

  /**
   * Merge into the session's own data; null removes a key.
   *
   * @param {Record<string, any>} data
   * @param {CommandOptions} [options]
   * @returns {Promise<{ data: Record<string, any> }>}
   */
  updateSession(data, options) {
    return this.command('update-session', { data }, options);
  }

  /**
   * Any command of the protocol.
   *
   * @param {string} type
   * @param {Record<string, any>} [fields]
   * @param {CommandOptions} [options]
   * @returns {Promise<any>} the answer; rejects with a `CommandError`
   */
  command(type, fields = {}, { timeoutMs = this.#commandTimeoutMs, ...options } = {}) {
    if (this.#page.signal.aborted) return Promise.reject(new CommandError('closed', ENDED));
    return this.#commands.add({ type, ...fields }, { timeoutMs, ...options }, this.#send);
  }

  /** @param {string} text */
  #send = (text) => {
    if (this.isConnected) this.#connection.send(text);
    return this.isConnected;
  };

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
        this.#quality.measure(Date.now() - frame.t);
        this.#tell(frame.type, frame);
        this.#tell('quality', this.quality);
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
    const room = frame.room ?? `${kind === 'room' ? 'event' : kind}:${eventId}`; // room-info is of an event
    this.#roomObjects.get(room)?.receive(frame);
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
    this.#commands.resend(this.#send);
    this.#tell('connected', connected);
  }

  /** @param {SessionRestored} restored */
  #restore(restored) {
    this.restoredSession = restored;
    const resets = this.#rooms.restore(restored);
    this.#tell('session-restored', restored);
    for (const reset of resets) {
      this.#tell('room-reset', reset);
      this.#roomObjects.get(reset.room)?.receive({ ...reset, type: 'room-reset' });
    }
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
    if (change.previous === 'connected') this.#commands.interrupt();
    this.#quality.follow(change);
    this.#tell('state', change);
    this.#tell('quality', this.quality);
  }

  /** @param {string} code */
  #end(code) {
    this.#page.abort();
    this.#rooms.save();
    this.#commands.rejectAll(code, ENDED);
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
  return crypto.getRandomValues(new Uint32Array(4)).join('-');
}
