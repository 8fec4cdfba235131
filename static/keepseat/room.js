/**
 * One room, as this client is in it: where it is, and what comes.
 *
 *     const room = client.room('chat:lobby');
 *     await room.join();
 *     for await (const { data } of room) console.log(data);
 *
 * Events: every frame about the room under its `type` (`message`, `room-info`, `room-reset` …), and `left` when the
 * client is in it no more, whoever wanted that; `CustomEvent`s with the frame as `detail`.
 */

import { CommandError } from './commands.js';

/** @import { Client, JoinOptions, PublishOptions } from './client.js' */
/** @import { CommandOptions } from './commands.js' */
/** @import { Frame } from './types.js' */

const MOST_UNREAD = 1_000;

export class Room extends EventTarget {
  #client;
  #life;
  /** How many connections are in it; of an event's room only. @type {number | null} */
  userCount = null;

  /**
   * @param {Client} client
   * @param {string} name
   * @param {AbortSignal} life of the client
   */
  constructor(client, name, life) {
    super();
    this.#client = client;
    this.#life = life;
    this.name = name;
  }

  /** Also while the line is down: then it will be joined again. */
  get isJoined() {
    return this.position !== null;
  }

  /** Everything up to here has been seen; null: not joined. */
  get position() {
    return this.#client.positionIn(this.name);
  }

  /** @param {JoinOptions} [options] */
  join({ since, ...options } = {}) {
    return this.#client.command(...this.#about('join', { since }), options);
  }

  /** @param {CommandOptions} [options] */
  leave(options) {
    return this.#client.command(...this.#about('leave', {}), options);
  }

  /**
   * @param {any} data
   * @param {PublishOptions} [options]
   */
  publish(data, options) {
    return this.#client.publish(this.name, data, options);
  }

  /**
   * Every message from now on, once each and in order, over all reconnects; in the place of messages that are lost
   * a `room-reset`. Ends when the room is left or the client closed.
   *
   * @param {{ signal?: AbortSignal }} [options] ends it too
   * @returns {AsyncGenerator<Frame, void>} throws `slow_reader` after 1,000 that were not read
   */
  messages({ signal } = {}) {
    /** @type {any[]} */
    const unread = [];
    const done = new AbortController();
    let wake = () => {};
    const end = () => {
      done.abort();
      wake();
    };
    const add = (/** @type {any} */ { detail }) => (unread.push(detail) > MOST_UNREAD ? end() : wake());
    /** @type {(target: EventTarget | undefined, type: string, listener: (event: any) => void) => void} */
    const on = (target, type, listener) =>
      target?.addEventListener(type, listener, { signal: done.signal });
    on(this, 'message', add);
    on(this, 'room-reset', add);
    on(this, 'left', end);
    for (const other of [this.#life, signal]) {
      on(other, 'abort', end);
      if (other?.aborted) end();
    }
    // not a generator itself: it would begin to listen with the first read only
    return (async function* () {
      try {
        for (;;) {
          if (unread.length > MOST_UNREAD) throw new CommandError('slow_reader', 'too many were not read');
          if (unread.length) yield unread.shift();
          else if (done.signal.aborted) return;
          else await new Promise((resolve) => (wake = () => resolve(null)));
        }
      } finally {
        done.abort();
      }
    })();
  }

  [Symbol.asyncIterator]() {
    return this.messages();
  }

  /** For the client: a frame about this room. @param {Frame} frame */
  receive(frame) {
    this.userCount = frame.userCount ?? this.userCount;
    this.dispatchEvent(new CustomEvent(frame.type, { detail: frame }));
  }

  /**
   * Rooms of an event have commands of their own.
   *
   * @param {string} verb
   * @param {Record<string, any>} fields
   * @returns {[string, Record<string, any>]}
   */
  #about(verb, fields) {
    const [, kind, eventId] = this.name.match(/^(event|queue|seats):(.*)$/) ?? [];
    return kind
      ? [`${verb}-${kind}`, { eventId, ...fields }]
      : [`${verb}-room`, { room: this.name, ...fields }];
  }
}
