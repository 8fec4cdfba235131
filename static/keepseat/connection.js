/** One signed-in line after another: when to open the next, with which token, and what to call it meanwhile. */

import { afterClose } from './closing.js';
import { Line } from './line.js';
import { Tokens } from './tokens.js';

/** @import { Frame, Settings, State, StateChange } from './types.js' */

/** After so many failed tries in a row the user is told that the connection is gone, not only interrupted. */
const TRIES_UNTIL_DISCONNECTED = 5;
/** A line that breaks sooner does not reset the backoff: a server that greets and falls would be stormed. */
const STABLE_AFTER_MS = 10_000;
/** Where tokens live for less than the server's warning time, each renewal is warned of at once again. */
const RENEWAL_PAUSE_MS = 5_000;
/** The code of a line that broke without a goodbye, as browsers report it. */
const BROKEN = 1006;

/**
 * @typedef {object} Owner
 * @property {() => object} hello what to add to the first frame
 * @property {(frame: Frame) => void} onFrame
 * @property {(change: StateChange) => void} onState
 */

export class Connection {
  #settings;
  #owner;
  #tokens;
  /** @type {Line | null} */
  #line = null;
  #attempt = 0; // names the newest try: whatever an older one still brings is ignored
  #failures = 0; // the exponent of the backoff
  #tries = 0; // failed ones since the last `connected`
  #connectedAt = 0;
  #renewedAt = -Infinity;
  #notBefore = 0; // no hurrying before this time: the server has asked for a pause
  #pauseMs = 0; // a server that refuses for want of room says how long to stay away
  #refresh = false; // the token was refused as expired: ask for another
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #retryTimer;

  /** @type {State} */
  state = 'connecting';

  /**
   * @param {Settings} settings
   * @param {Owner} owner
   */
  constructor(settings, owner) {
    this.#settings = settings;
    this.#owner = owner;
    this.#tokens = new Tokens(settings.getToken);
  }

  get isConnected() {
    return this.state === 'connected';
  }

  /** @param {string} text */
  send(text) {
    this.#line?.send(text);
  }

  /** Try now, whatever was planned. */
  async open() {
    this.#retire();
    const attempt = this.#attempt;
    /** @type {string | null | undefined} */
    let token;
    try {
      token = await this.#tokens.get(this.#refresh);
    } catch {
      if (attempt === this.#attempt) this.#retry(BROKEN, 'no_token');
      return;
    }
    if (attempt !== this.#attempt) return;
    if (!token) {
      this.end('signed-out', this.#refresh ? 'token_expired' : 'token_required');
      return;
    }
    this.#line = new Line({
      ...this.#settings,
      hello: { type: 'auth', token, ...this.#owner.hello() },
      onFrame: (frame) => this.#receive(frame),
      onEnd: (code, reason) => this.#lost(code, reason),
    });
  }

  /** Give the line up, and plan the next. @param {string} reason */
  abandon(reason) {
    if (!this.#line) return;
    this.#line.drop();
    this.#lost(BROKEN, reason);
  }

  /**
   * Now is a good time: the network or the user is back.
   *
   * @param {boolean} afresh also give up a try under way, which may hang on a network that is gone
   */
  hurry(afresh) {
    if (this.isConnected) {
      this.#line?.probe();
      return;
    }
    const mayTry = this.#retryTimer === undefined ? afresh && this.#line : Date.now() >= this.#notBefore;
    if (!mayTry) return;
    this.#failures = 0;
    this.open();
  }

  /**
   * Do nothing more by itself.
   *
   * @param {'disconnected' | 'signed-out'} state
   * @param {string} reason
   * @param {number} [code]
   */
  end(state, reason, code) {
    this.#retire();
    this.#become(state, false, reason, code);
  }

  /** Nothing of what was under way matters any more. */
  #retire() {
    this.#attempt += 1;
    clearTimeout(this.#retryTimer);
    this.#retryTimer = undefined;
    this.#line?.drop();
    this.#line = null;
  }

  /** @param {Frame} frame */
  #receive(frame) {
    if (frame.type === 'connected') {
      this.#establish(frame);
      return;
    }
    if (frame.type === 'reconnect') {
      this.#plan(frame.delayMs, frame.delayMs);
    } else if (frame.type === 'token-expiring') {
      this.#renew();
    } else if (frame.type === 'error' && frame.id === undefined) {
      this.#pauseMs = frame.details?.retryAfterMs ?? 0;
    }
    this.#owner.onFrame(frame);
  }

  /** @param {Frame} connected */
  #establish(connected) {
    this.#connectedAt = Date.now();
    this.#tries = 0;
    this.#refresh = false;
    this.#pauseMs = 0;
    this.#line?.established();
    const previous = this.state;
    this.state = 'connected';
    // the owner first: who hears of the new state may already use it
    this.#owner.onFrame(connected);
    if (this.isConnected) this.#owner.onState({ state: 'connected', previous, willRetry: true });
  }

  /** Tried until it succeeds; in the end the server closes the line with `token_expired`, and the next one refreshes. */
  async #renew() {
    const line = this.#line;
    const pauseMs = this.#renewedAt + RENEWAL_PAUSE_MS - Date.now();
    if (pauseMs > 0) {
      setTimeout(() => line === this.#line && this.#renew(), pauseMs);
      return;
    }
    this.#renewedAt = Date.now();
    try {
      const token = await this.#tokens.get(true);
      if (token && line === this.#line) line?.send(JSON.stringify({ type: 'auth', token }));
    } catch {
      if (line === this.#line) this.#renew();
    }
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #lost(code, reason) {
    this.#line = null;
    const { next, waitMs } = afterClose(code, reason);
    const pauseMs = this.#pauseMs;
    this.#pauseMs = 0;
    if (next === 'sign-out' || (next === 'refresh' && this.#refresh)) {
      this.end('signed-out', reason, code);
    } else if (next === 'stop') {
      this.end('disconnected', reason, code);
    } else {
      this.#refresh = next === 'refresh';
      this.#retry(code, reason, waitMs, pauseMs);
    }
  }

  /**
   * Plan the next try: after `waitMs` and no sooner where given, else with backoff, which begins after `pauseMs`.
   *
   * @param {number} code
   * @param {string} reason
   * @param {number} [waitMs]
   * @param {number} [pauseMs]
   */
  #retry(code, reason, waitMs, pauseMs = 0) {
    if (!this.isConnected) this.#tries += 1;
    else if (Date.now() - this.#connectedAt >= STABLE_AFTER_MS) this.#failures = 0;
    const waiting = this.state === 'connecting' ? 'connecting' : 'reconnecting';
    this.#become(this.#tries < TRIES_UNTIL_DISCONNECTED ? waiting : 'disconnected', true, reason, code);
    // a server that went away has told when to come back
    if (this.#retryTimer !== undefined) return;
    this.#plan(waitMs ?? pauseMs + this.#settings.backoff(this.#failures++), waitMs ?? pauseMs);
  }

  /**
   * @param {number} delayMs
   * @param {number} [pauseMs] nothing may shorten this
   */
  #plan(delayMs, pauseMs = 0) {
    clearTimeout(this.#retryTimer);
    this.#notBefore = Date.now() + pauseMs;
    this.#retryTimer = setTimeout(() => {
      if (this.isConnected) this.#become('reconnecting', true, 'planned');
      this.open();
    }, delayMs);
  }

  /**
   * @param {State} state
   * @param {boolean} willRetry
   * @param {string} [reason]
   * @param {number} [code]
   */
  #become(state, willRetry, reason, code) {
    const previous = this.state;
    this.state = state;
    if (state !== previous || !willRetry) this.#owner.onState({ state, previous, willRetry, reason, code });
  }
}
