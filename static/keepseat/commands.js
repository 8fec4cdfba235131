/** Commands that wait for their answer: each has an id, a deadline, and is sent again on the next line. */

/** @import { Frame } from './types.js' */

/** Fewer than the commands that a server takes at once (40), so that all may be sent on one new line. */
const MAX_WAITING = 30;
/** The server closes a line for a larger frame (1009), so such a frame must not leave. */
const MAX_FRAME_BYTES = 65_536;
const BROKE = 'the line broke before the answer came';

/** A command that did not succeed. `code` is the server's code word, or one of this client's. */
export class CommandError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {{ retryable?: boolean, details?: any }} [more]
   */
  constructor(code, message, { retryable = false, details } = {}) {
    super(message);
    this.name = 'CommandError';
    this.code = code;
    this.retryable = retryable;
    this.details = details;
  }
}

/**
 * @typedef {object} CommandOptions
 * @property {number} [timeoutMs] `Infinity`: as long as it takes
 * @property {'wait' | 'fail'} [whenAway] while there is no line `wait` for the next one, or reject at once: with
 *   `not_connected`, or with `interrupted` where it was sent and the line broke before the answer
 * @property {boolean} [isRepeatable] not so: reject with `interrupted` rather than send it again on the next line
 */

/** @typedef {{ text: string, isSent: boolean, isRepeated: boolean, isRepeatable: boolean, isPatient: boolean,
 *   resolve: (answer: any) => void, reject: (error: CommandError) => void,
 *   timer?: ReturnType<typeof setTimeout> }} Waiting */

export class Commands {
  /** @type {Map<number, Waiting>} in the order given */
  #waiting = new Map();
  #lastId = 0;

  /**
   * @param {Frame} command
   * @param {CommandOptions} options
   * @param {(text: string) => boolean} send false where there is no line
   * @returns {Promise<any>}
   */
  add(command, { timeoutMs = Infinity, whenAway = 'wait', isRepeatable = true }, send) {
    const id = ++this.#lastId;
    const text = JSON.stringify({ ...command, id });
    if (new TextEncoder().encode(text).length > MAX_FRAME_BYTES) {
      return Promise.reject(new CommandError('too_big', `a frame has at most ${MAX_FRAME_BYTES} bytes`));
    }
    if (this.#waiting.size >= MAX_WAITING) {
      return Promise.reject(new CommandError('too_many_commands', `${MAX_WAITING} commands wait already`));
    }
    return new Promise((resolve, reject) => {
      /** @type {Waiting} */
      const waiting = {
        text,
        isSent: false,
        isRepeated: false,
        isRepeatable,
        isPatient: whenAway === 'wait',
        resolve,
        reject,
      };
      if (timeoutMs !== Infinity) waiting.timer = setTimeout(() => this.#fail(id, 'timeout', 'no answer came in time'), timeoutMs);
      this.#waiting.set(id, waiting);
      waiting.isSent = send(text);
      if (!waiting.isSent && !waiting.isPatient) this.#fail(id, 'not_connected', 'there is no line');
    });
  }

  /** The line is gone: who did not want to wait for the next one learns it now. */
  interrupt() {
    for (const [id, { isPatient }] of this.#waiting) if (!isPatient) this.#fail(id, 'interrupted', BROKE);
  }

  /**
   * Send all that wait, in order. Repeating is safe: joins and leaves name a state, a publication has its key,
   * and what must not be done twice is given back.
   *
   * @param {(text: string) => boolean} send
   */
  resend(send) {
    for (const [id, waiting] of this.#waiting) {
      if (waiting.isSent && !waiting.isRepeatable) {
        this.#fail(id, 'interrupted', BROKE);
      } else {
        waiting.isRepeated = true;
        waiting.isSent = send(waiting.text);
      }
    }
  }

  /** @param {Frame} frame an answer; where nobody waits for it any more, nothing happens */
  settle(frame) {
    const waiting = this.#take(/** @type {number} */ (frame.id));
    if (!waiting) return;
    const { type, code, message, retryable, details } = frame;
    // what a repeated leave was to leave is left already: by the first try, or with the line
    const isDone = type !== 'error' || (code === 'not_joined' && waiting.isRepeated);
    if (!isDone) waiting.reject(new CommandError(code, message, { retryable, details }));
    else waiting.resolve(frame);
  }

  /**
   * @param {string} code
   * @param {string} message
   */
  rejectAll(code, message) {
    for (const id of [...this.#waiting.keys()]) this.#take(id)?.reject(new CommandError(code, message));
  }

  /**
   * @param {number} id
   * @param {string} code
   * @param {string} message
   */
  #fail(id, code, message) {
    this.#take(id)?.reject(new CommandError(code, message, { retryable: code !== 'interrupted' }));
  }

  /** @param {number} id */
  #take(id) {
    const waiting = this.#waiting.get(id);
    if (!waiting) return undefined;
    this.#waiting.delete(id);
    clearTimeout(waiting.timer);
    return waiting;
  }
}
