/** The newest messages of each room, kept over a reload as the client keeps its positions. */

/** @typedef {{ offset: number, data: any, sentAt: number }} Entry */
/** @typedef {Entry | { gap: true }} Item a message, or a place where some may be missing */

const KEPT = 50;
/** Rooms are few; this only keeps a tab that visits every event from growing without end. */
const KEPT_ROOMS = 20;

export class History extends EventTarget {
  /** @type {Map<string, Item[]>} */
  #rooms;
  #key;

  /**
   * @param {import('../keepseat/client.js').Client} client
   * @param {string} key
   * @param {AbortSignal} signal
   */
  constructor(client, key, signal) {
    super();
    this.#key = key;
    this.#rooms = new Map(Object.entries(JSON.parse(sessionStorage.getItem(key) ?? '{}')));
    client.on('message', ({ room, offset, data, sentAt }) => this.#add(room, { offset, data, sentAt }), {
      signal,
    });
    client.on('room-reset', ({ room }) => this.#add(room, { gap: true }), { signal });
    addEventListener('pagehide', () => this.#save(), { signal });
    document.addEventListener('visibilitychange', () => document.hidden && this.#save(), { signal });
  }

  /** @param {string} room */
  of(room) {
    return this.#rooms.get(room) ?? [];
  }

  /** Forget all, also after a reload. */
  forget() {
    this.#rooms.clear();
    this.#save();
  }

  /**
   * @param {string} room
   * @param {Item} item
   */
  #add(room, item) {
    const items = [...this.of(room), item].slice(-KEPT);
    this.#rooms.delete(room);
    this.#rooms.set(room, items);
    if (this.#rooms.size > KEPT_ROOMS) this.#rooms.delete(this.#rooms.keys().next().value ?? '');
    this.dispatchEvent(new CustomEvent(room, { detail: item }));
  }

  #save() {
    try {
      sessionStorage.setItem(this.#key, JSON.stringify(Object.fromEntries(this.#rooms)));
    } catch {
      // no room to keep them: after a reload the list begins anew
    }
  }
}
