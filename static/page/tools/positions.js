/** Where the client is in each room, read from the frames that tell of it: what it would resume from. */

/** @typedef {import('../../keepseat/types.js').Frame} Frame */

export class Positions {
  /** @type {Map<string, { epoch: string, offset: number }>} */
  #at = new Map();

  /** @returns {[string, { epoch: string, offset: number }][]} by name */
  all() {
    return [...this.#at].sort(([a], [b]) => a.localeCompare(b));
  }

  /** @param {Frame} frame */
  note(frame) {
    if (frame.type === 'connected') {
      this.#at.clear();
      this.#move(frame.userRoom);
    } else if (frame.type === 'session-restored') {
      frame.rooms.forEach((/** @type {any} */ room) => this.#move(room));
    } else if (frame.type.endsWith('-left')) {
      this.#at.delete(frame.room ?? `${frame.type.split('-')[0]}:${frame.eventId}`);
    } else if (frame.type !== 'published') {
      // joining an event leaves the one before
      if (frame.type === 'event-joined') this.#leaveEvents();
      this.#move(frame);
    }
  }

  #leaveEvents() {
    for (const room of this.#at.keys()) if (room.startsWith('event:')) this.#at.delete(room);
  }

  /** @param {Record<string, any>} told */
  #move({ room, epoch, offset, missed = 0 }) {
    if (room === undefined || offset === undefined) return;
    const known = this.#at.get(room);
    this.#at.set(room, { epoch: epoch ?? known?.epoch ?? '', offset: offset - missed });
  }
}
