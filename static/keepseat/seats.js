/**
 * The seats of one event, and which of them this user holds, kept right by whatever the server says of them.
 *
 *     const seats = client.seats('123');
 *     seats.addEventListener('change', () => console.log(seats.available, seats.held));
 *     await seats.join();
 *     await seats.hold(['A-1', 'A-2']);
 *
 * Events, both `CustomEvent`s:
 * `change`: its `detail.seats` are the ids whose state may have changed, or null: all of them;
 * `expired`: the hold on `detail.seats` has run out, just now, or while the line was down.
 */

/** @import { Client } from './client.js' */
/** @import { CommandOptions } from './commands.js' */
/** @import { Frame, Position, SessionRestored } from './types.js' */
/** @typedef {'available' | 'own' | 'held' | 'sold'} SeatState `held` by somebody else */

/** A hold may seem to end so much too early, as far as clocks differ. */
const EARLIEST_END_MS = 1_000;

export class Seats extends EventTarget {
  #client;
  /** Every seat that is not available. @type {Map<string, 'held' | 'sold'>} */
  #taken = new Map();
  /** What `#taken` is the state at; null: nothing is known. @type {Position | null} */
  #at = null;

  /** How many there are. */
  total = 0;
  /** What this user holds, on whichever of the user's connections. @type {string[]} */
  held = [];
  /** When the hold ends, in the server's time. @type {number | null} */
  holdExpiresAt = null;

  /**
   * @param {Client} client
   * @param {string} eventId
   */
  constructor(client, eventId) {
    super();
    this.#client = client;
    this.eventId = eventId;
  }

  /** False before the first answer to `join()`. */
  get isKnown() {
    return this.#at !== null;
  }

  get available() {
    return this.total - this.#taken.size;
  }

  /** The ids of all that are not available, this user's own among them. */
  get taken() {
    return this.#taken.keys();
  }

  /**
   * @param {string} id
   * @returns {SeatState}
   */
  stateOf(id) {
    const state = this.#taken.get(id);
    if (state !== 'sold' && this.held.includes(id)) return 'own';
    return state ?? 'available';
  }

  /** Be told of every change. @param {CommandOptions} [options] */
  join(options) {
    return this.#command('join-seats', {}, options);
  }

  /** Be told no more; holds stay. @param {CommandOptions} [options] */
  leave(options) {
    return this.#command('leave-seats', {}, options);
  }

  /**
   * All of them, or none.
   *
   * @param {string[]} seats
   * @param {CommandOptions} [options]
   */
  hold(seats, options) {
    return this.#command('hold-seats', { seats }, options);
  }

  /**
   * Let the server choose. Where the line breaks before the answer it is not asked again, since it would choose
   * others: then this rejects with `interrupted`, and `held` tells what came of it.
   *
   * @param {number} count
   * @param {string} [section]
   * @param {CommandOptions} [options]
   */
  holdBest(count, section, options) {
    return this.#command('hold-best', { count, section }, { ...options, isRepeatable: false });
  }

  /** Lengthen the hold. @param {CommandOptions} [options] */
  extend(options) {
    return this.#command('extend-hold', {}, options);
  }

  /**
   * @param {string[]} [seats] all, where absent
   * @param {CommandOptions} [options]
   */
  release(seats, options) {
    return this.#command('release-seats', { seats }, options);
  }

  /** For the client: a frame about these seats. @param {Frame} frame */
  receive(frame) {
    switch (frame.type) {
      case 'seats-joined':
        // asked a second time: what came meanwhile may be newer than the answer
        if (!this.#hasSeen(frame)) this.#load(frame);
        this.#setHeld(/** @type {Record<string, any>} */ (frame));
        break;
      case 'seats-left':
        this.#forget();
        break;
      case 'seats-snapshot':
        this.#load(frame);
        break;
      case 'seats-updated':
        this.#apply(frame);
        break;
      case 'seats-held':
      case 'seats-released':
        this.#setHeld(/** @type {Record<string, any>} */ (frame));
        break;
      case 'seats-expired':
        this.#lose(frame.seats);
        break;
      case 'room-reset':
        // the store has lost something: a hold may be a part of it
        if (this.isKnown) this.#ask();
    }
  }

  /** For the client: a new line has begun. @param {SessionRestored} told */
  restore({ seats }) {
    const isIn = this.#client.rooms.includes(`seats:${this.eventId}`);
    if (!isIn) this.#forget();
    if (!seats || seats.eventId === this.eventId) this.#restoreHeld(seats?.held ?? [], seats?.holdExpiresAt);
    // told of one event only, and this user may hold seats of another one, too
    else if (isIn) this.#ask();
  }

  /**
   * @param {string} type
   * @param {Record<string, any>} [fields]
   * @param {CommandOptions} [options]
   */
  #command(type, fields, options) {
    return this.#client.command(type, { eventId: this.eventId, ...fields }, options);
  }

  /** @param {Frame} frame */
  #hasSeen({ epoch, offset }) {
    return this.#at?.epoch === epoch && (this.#at?.offset ?? 0) >= offset;
  }

  #ask() {
    this.join().catch(() => {}); // the next line tells
  }

  /** @param {Frame} told */
  #load({ epoch, offset, snapshot }) {
    this.#at = { epoch, offset };
    this.total = snapshot.total;
    this.#taken = new Map();
    for (const id of snapshot.held) this.#taken.set(id, 'held');
    for (const id of snapshot.sold) this.#taken.set(id, 'sold');
    this.#tell('change', null);
  }

  #forget() {
    this.#at = null;
    this.total = 0;
    this.#taken.clear();
    this.#tell('change', null);
  }

  /** What a snapshot has seen already is not done again, whatever the order they come in. @param {Frame} update */
  #apply({ epoch, offset, seats }) {
    if (!this.#at || offset <= this.#at.offset) return;
    this.#at = { epoch: epoch ?? this.#at.epoch, offset };
    for (const [id, state] of Object.entries(seats)) {
      if (state === 'available') this.#taken.delete(id);
      else this.#taken.set(id, state);
    }
    // a seat that was paid for is held no more
    this.#drop(Object.keys(seats).filter((id) => seats[id] === 'sold'));
    this.#tell('change', Object.keys(seats));
  }

  /** @param {{ held?: any, holdExpiresAt?: any }} told */
  #setHeld({ held, holdExpiresAt }) {
    const changed = [...this.held, ...held];
    this.held = held;
    this.holdExpiresAt = held.length ? (holdExpiresAt ?? null) : null;
    this.#tell('change', changed);
  }

  /**
   * @param {string[]} held
   * @param {number} [holdExpiresAt]
   */
  #restoreHeld(held, holdExpiresAt) {
    const lost = this.held.filter((id) => !held.includes(id));
    const hasRunOut = this.holdExpiresAt !== null && this.holdExpiresAt <= this.#client.serverNow();
    this.#setHeld({ held, holdExpiresAt });
    // else another tab of this user has released or booked them
    if (lost.length && hasRunOut) this.#tell('expired', lost);
  }

  /** @param {string[]} seats */
  #lose(seats) {
    const lost = seats.filter((id) => this.held.includes(id));
    const hasTime = (this.holdExpiresAt ?? 0) > this.#client.serverNow() + EARLIEST_END_MS;
    // before its time: the store has lost the hold, or this is about an older one, and they were taken again
    if (lost.length && hasTime && this.isKnown) this.#ask();
    else this.#drop(lost);
    this.#tell('change', lost);
    this.#tell('expired', seats);
  }

  /** @param {string[]} seats */
  #drop(seats) {
    this.held = this.held.filter((id) => !seats.includes(id));
    if (!this.held.length) this.holdExpiresAt = null;
  }

  /**
   * @param {string} type
   * @param {string[] | null} seats
   */
  #tell(type, seats) {
    this.dispatchEvent(new CustomEvent(type, { detail: { seats } }));
  }
}
