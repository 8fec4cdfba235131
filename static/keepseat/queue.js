/**
 * A user's place in one event's waiting room, kept right by whatever the server says of it.
 *
 *     const queue = client.queue('123');
 *     queue.addEventListener('change', () => console.log(queue.status, queue.position));
 *     await queue.join();
 *
 * While the line is down everything stays as it was last known; `client.state` says that it is.
 *
 * Event: `change`, a `CustomEvent` whose `detail` has the status before as `previous`, and as `reason` why a place
 * or an admission has ended: what the server said, or `lost`, where it was gone after a reconnect.
 */

/** @import { Client } from './client.js' */
/** @import { CommandOptions } from './commands.js' */
/** @import { Frame, SessionRestored } from './types.js' */
/** @typedef {'none' | 'waiting' | 'admitted'} QueueStatus */

export class Queue extends EventTarget {
  #client;
  /** @type {QueueStatus} */
  status = 'none';
  /** Counted from 1; null unless waiting, as are the next four. @type {number | null} */
  position = null;
  /** The position that was seen first. @type {number | null} */
  firstPosition = null;
  /** How many are in line. @type {number | null} */
  total = null;
  /** Null also where nobody can say, as while admission is paused. @type {number | null} */
  etaSeconds = null;
  /** Seats still free; null also where the event has none. @type {number | null} */
  available = null;
  /** When the admission ends; null: it has no end. @type {number | null} */
  expiresAt = null;
  /** What an admitted user shows to the back end. @type {string | null} */
  pass = null;

  /**
   * @param {Client} client
   * @param {string} eventId
   */
  constructor(client, eventId) {
    super();
    this.#client = client;
    this.eventId = eventId;
  }

  /** Take a place; who has one already keeps it. @param {CommandOptions} [options] */
  join(options) {
    return this.#client.command('join-queue', { eventId: this.eventId }, options);
  }

  /** Give up the place, or the admission. @param {CommandOptions} [options] */
  leave(options) {
    return this.#client.command('leave-queue', { eventId: this.eventId }, options);
  }

  /** For the client: a frame about this waiting room. @param {Frame} frame */
  receive(frame) {
    switch (frame.type) {
      case 'queue-joined':
        this.#become(frame.status, frame);
        break;
      case 'queue-updated':
        // also where another tab has joined; but who has been let in waits no more, whatever was under way
        if (this.status !== 'admitted') this.#become('waiting', frame);
        break;
      case 'queue-entry-allowed':
        this.#become('admitted', frame);
        break;
      case 'queue-left':
        this.#become('none', frame);
        break;
      case 'room-reset':
        // the store has lost something: what we know may be a part of it
        if (this.status !== 'none') this.#ask();
    }
  }

  /** For the client: a new line has begun. @param {SessionRestored} told */
  restore({ queue }) {
    if (queue?.eventId === this.eventId) this.#become(queue.status, queue);
    else if (this.status === 'none') return;
    // a session names one waiting room, and this user may be in another one, too
    else if (queue && this.#client.rooms.includes(`queue:${this.eventId}`)) this.#ask();
    else this.#become('none', { reason: 'lost' });
  }

  #ask() {
    this.join().catch(() => {}); // the next line tells
  }

  /**
   * @param {QueueStatus} status
   * @param {Record<string, any>} told
   */
  #become(status, told) {
    const previous = this.status;
    const isWaiting = status === 'waiting';
    const isAdmitted = status === 'admitted';
    this.status = status;
    this.position = isWaiting ? told.position : null;
    this.firstPosition = isWaiting ? (this.firstPosition ?? told.position) : null;
    this.total = isWaiting ? told.total : null;
    this.etaSeconds = isWaiting ? (told.etaSeconds ?? null) : null;
    this.available = isWaiting ? (told.available ?? this.available) : null;
    this.expiresAt = isAdmitted ? (told.expiresAt ?? null) : null;
    this.pass = isAdmitted ? (told.pass ?? null) : null;
    this.dispatchEvent(new CustomEvent('change', { detail: { previous, reason: told.reason } }));
  }
}
