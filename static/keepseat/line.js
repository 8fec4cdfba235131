/** One WebSocket, from opening to its end: signs in, asks when all is silent, and finds out when it is dead. */

/** @import { Frame } from './types.js' */

/** The code of a line that broke without a goodbye, as browsers report it. */
const BROKEN = 1006;
/** A line that is never silent is asked all the same, in each so many idle times: how quick it is shows no other way. */
const MEASURE_EVERY = 4;

/**
 * @typedef {object} LineOptions
 * @property {string | URL} url
 * @property {Frame} hello the first frame
 * @property {number} connectTimeoutMs
 * @property {number} idleMs
 * @property {number} deadMs
 * @property {(frame: Frame) => void} onFrame
 * @property {(code: number, reason: string) => void} onEnd called once, unless the line is dropped before
 */

export class Line {
  #socket;
  #options;
  #over = false;
  #heardAt = 0;
  #probedAt = 0;
  #asked = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {LineOptions} options */
  constructor(options) {
    this.#options = options;
    const socket = new WebSocket(options.hello.resume ? returning(options.url) : options.url);
    this.#socket = socket;
    this.#timer = setTimeout(() => this.#end(BROKEN, 'connect_timeout'), options.connectTimeoutMs);
    socket.onopen = () => this.send(JSON.stringify(options.hello));
    socket.onmessage = ({ data }) => this.#hear(JSON.parse(data));
    socket.onclose = ({ code, reason }) => this.#end(code, reason);
  }

  /** @param {string} text */
  send(text) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(text);
  }

  /** The server has let us in: from now on silence is suspicious. */
  established() {
    const { idleMs } = this.#options;
    this.#probedAt = Date.now() - (MEASURE_EVERY - 1) * idleMs;
    this.#watch();
  }

  /** Ask the server for a sign of life, now. Protocol pings are invisible to a page, so it is a command. */
  probe() {
    if (this.#asked || this.#over) return;
    this.#asked = true;
    this.#probedAt = Date.now();
    this.send(JSON.stringify({ type: 'ping', t: this.#probedAt }));
    this.#startTimer(this.#options.deadMs - this.#options.idleMs, () => this.#judgeSilence());
  }

  /** Be done with it: nothing of it is heard any more, however late it comes. */
  drop() {
    this.#over = true;
    clearTimeout(this.#timer);
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close(1000);
  }

  /** @param {Frame} frame */
  #hear(frame) {
    this.#heardAt = Date.now();
    this.#asked = false;
    this.#options.onFrame(frame);
  }

  #watch() {
    const { idleMs } = this.#options;
    const dueAt = Math.min(this.#heardAt + idleMs, this.#probedAt + MEASURE_EVERY * idleMs);
    const restMs = dueAt - Date.now();
    // the wall clock may have been set back meanwhile
    if (restMs > 0) this.#startTimer(Math.min(restMs, idleMs), () => this.#watch());
    else this.probe();
  }

  /** A hidden page's timers come late, but its frames do not: so no count of ticks, only whether any came. */
  #judgeSilence() {
    if (this.#asked) this.#end(BROKEN, 'silent');
    else this.#watch();
  }

  /**
   * @param {number} ms
   * @param {() => void} callback
   */
  #startTimer(ms, callback) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(callback, ms);
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #end(code, reason) {
    if (this.#over) return;
    this.drop();
    this.#options.onEnd(code, reason);
  }
}

/**
 * The address of a client that comes back: where thousands come at once it is let in before newcomers.
 *
 * @param {string | URL} url
 */
function returning(url) {
  const address = String(url);
  return `${address}${address.includes('?') ? '&' : '?'}returning=1`;
}
