/** Where this client is in each of its rooms, from the frames that tell of it; kept over a reload of the page. */

import { judge } from './recovery.js';

/** @import { Frame, Position, Resume, RoomReset, SessionRestored } from './types.js' */

/** Storage is written at most this often while messages come in, and always when the page goes. */
const SAVE_AFTER_MS = 1_000;

export class Rooms {
  /** @type {Map<string, Position>} */
  #at;
  #storage;
  #key;
  #onLeft;
  /** @type {Resume | undefined} what the line under way has asked for */
  #asked;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {Storage | null} storage
   * @param {string} key
   * @param {(room: string) => void} onLeft
   */
  constructor(storage, key, onLeft) {
    this.#storage = storage;
    this.#key = key;
    this.#onLeft = onLeft;
    this.#at = new Map(Object.entries(this.#load()));
  }

  get names() {
    return [...this.#at.keys()];
  }

  /** @param {string} room */
  positionIn(room) {
    return this.#at.get(room) ?? null;
  }

  /** @returns {Resume | undefined} for a new line; nothing where nothing is known: then the stored session decides */
  askToResume() {
    this.#asked = this.#at.size ? Object.fromEntries(this.#at) : undefined;
    return this.#asked;
  }

  /** @param {Position & { room: string }} told */
  reset({ room, epoch, offset }) {
    this.#at.set(room, { epoch, offset });
    this.#saveSoon();
  }

  /**
   * A line begins.
   *
   * @param {Position & { room: string }} userRoom the room that is joined by itself
   * @returns {boolean} false where what we know of is another user's
   */
  begin(userRoom) {
    if (this.#at.has(userRoom.room)) return true;
    if (this.names.some((name) => name.startsWith('user:'))) return false;
    this.reset(userRoom);
    return true;
  }

  /**
   * Answers tell which rooms we are in, also when nobody waits for them any more.
   *
   * @param {Frame} answer
   */
  note({ type, room, eventId, epoch, offset, recovered, missed = 0 }) {
    const [kind, did] = type.split('-');
    room ??= `${kind}:${eventId}`;
    if (did === 'left') this.#drop(room);
    if (did !== 'joined' || epoch === undefined) return;
    // joining an event leaves the one before
    if (kind === 'event')
      this.names.filter((n) => n !== room && n.startsWith('event:')).forEach((n) => this.#drop(n));
    // a room that was joined already goes on where it is: messages may be under way
    if (!this.#at.has(room) || recovered !== undefined) this.reset({ room, epoch, offset: offset - missed });
  }

  /**
   * @param {SessionRestored} told
   * @returns {RoomReset[]} the rooms whose position was too old to resume from
   */
  restore({ rooms }) {
    /** @type {RoomReset[]} */
    const resets = [];
    for (const { room, epoch, offset, recovered, missed = 0, error } of rooms) {
      if (error || epoch === undefined || offset === undefined) {
        this.#drop(room);
        continue;
      }
      if (!recovered && this.#asked?.[room]) resets.push({ room, epoch, offset, cause: 'resume' });
      this.reset({ room, epoch, offset: offset - missed });
    }
    return resets;
  }

  /**
   * Judge a publication, and move on where it is the next one. Of a room that was left it counts as seen.
   *
   * @param {Frame} publication
   */
  advance({ room, epoch, offset }) {
    const at = this.#at.get(room);
    if (!at) return 'duplicate';
    const verdict = judge(at, epoch ?? at.epoch, offset, epoch !== undefined);
    if (verdict === 'deliver') this.reset({ room, epoch: epoch ?? at.epoch, offset });
    return verdict;
  }

  save() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    try {
      this.#storage?.setItem(this.#key, JSON.stringify(Object.fromEntries(this.#at)));
    } catch {
      // storage is full or forbidden: only a reload then misses what came before it
    }
  }

  /** Know nothing any more, also after a reload. */
  forget() {
    this.names.forEach((name) => this.#drop(name));
    this.save();
  }

  /** @param {string} room */
  #drop(room) {
    if (this.#at.delete(room)) this.#onLeft(room);
    this.#saveSoon();
  }

  #saveSoon() {
    this.#timer ??= setTimeout(() => this.save(), SAVE_AFTER_MS);
  }

  /** @returns {Resume} */
  #load() {
    try {
      return JSON.parse(this.#storage?.getItem(this.#key) || '{}');
    } catch {
      return {};
    }
  }
}
