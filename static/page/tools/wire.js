/**
 * What goes over the page's WebSockets, to be looked at and to be cut: for a demo only. It stands in front of the
 * browser's own class, so that the client under observation is the one that everybody copies, and knows nothing
 * of being watched.
 */

/** @typedef {{ way: 'in' | 'out', at: number, type: string, text: string }} Seen a frame; tokens are left out */

/** Whoever looks over one's shoulder shall not sign in as one. */
const SECRETS = new Set(['token', 'pass']);
const KEPT = 200;
const LONGEST_TEXT = 600;
/** The code of a line that broke without a goodbye, as browsers report it. */
const BROKEN = 1006;

/** Events: `frame`, with a `Seen` as `detail`, and `cut`, when the line is cut and when it is whole again. */
export class Wire extends EventTarget {
  #native = globalThis.WebSocket;
  /** @type {Set<WebSocket>} */
  #open = new Set();
  /** The newest frames, oldest first. @type {Seen[]} */
  frames = [];
  /** Until when the line is cut, by `Date.now()`. */
  cutUntil = 0;

  /** Watch every socket that is opened from now on. */
  install() {
    globalThis.WebSocket = new Proxy(this.#native, {
      construct: (native, args) =>
        this.isCut ? /** @type {any} */ (new Unreachable()) : this.#watch(Reflect.construct(native, args)),
    });
  }

  remove() {
    globalThis.WebSocket = this.#native;
    this.frames = [];
  }

  get isCut() {
    return Date.now() < this.cutUntil;
  }

  /** As in a tunnel: what is open breaks, and nobody gets through until the time is over. @param {number} ms */
  cut(ms) {
    this.cutUntil = Date.now() + ms;
    for (const socket of [...this.#open]) {
      socket.onclose?.(new CloseEvent('close', { code: BROKEN }));
      socket.close();
    }
    this.dispatchEvent(new Event('cut'));
    setTimeout(() => this.dispatchEvent(new Event('cut')), ms);
  }

  /** @param {WebSocket} socket */
  #watch(socket) {
    const send = socket.send.bind(socket);
    socket.send = (data) => {
      this.#note('out', String(data));
      send(data);
    };
    this.#open.add(socket);
    socket.addEventListener('message', ({ data }) => this.#note('in', String(data)));
    socket.addEventListener('close', () => this.#open.delete(socket));
    return socket;
  }

  /**
   * @param {'in' | 'out'} way
   * @param {string} raw
   */
  #note(way, raw) {
    const frame = JSON.parse(raw, (key, value) => (SECRETS.has(key) ? '…' : value));
    const text = JSON.stringify(frame).slice(0, LONGEST_TEXT);
    const seen = { way, at: Date.now(), type: String(frame.type), text };
    this.frames = [...this.frames, seen].slice(-KEPT);
    this.dispatchEvent(new CustomEvent('frame', { detail: { seen, frame } }));
  }
}

/** A socket that cannot be opened, as far as a client can tell. */
class Unreachable {
  readyState = WebSocket.CLOSED;
  /** @type {((event: CloseEvent) => void) | null} */
  onclose = null;

  constructor() {
    setTimeout(() => this.onclose?.(new CloseEvent('close', { code: BROKEN })));
  }

  send() {}

  close() {}
}
