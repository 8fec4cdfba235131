// A client of each system, for the jitter test: `open` a line to a server, `cut` it as a network would.
// Both tell their owner when the socket is open, when they are in the room, each message and each end.

import { createRequire } from 'node:module';

const require = createRequire(`${process.cwd()}/`);
const WebSocket = require('ws');
const { io } = require('socket.io-client');

export const EVENT = 'jitter';
const ROOM = `event:${EVENT}`;

/** Raw: the bundled client decides itself when to try again, and here every system is away equally long. */
class Keepseat {
  #ws;
  #position;
  #socketId;

  constructor(owner, token) {
    this.owner = owner;
    this.token = token;
  }

  open(url) {
    const ws = new WebSocket(`${url.replace('http', 'ws')}/ws`, { perMessageDeflate: false });
    this.#ws = ws;
    ws.on('open', () => {
      this.owner.onOpen();
      const resume = this.#position && { [ROOM]: this.#position };
      this.#send({ type: 'auth', token: this.token, resume, replaces: this.#socketId });
    });
    ws.on('message', (text) => this.#take(JSON.parse(text)));
    ws.on('error', () => {});
    ws.on('close', () => this.owner.onEnd());
  }

  cut() {
    this.#ws.terminate();
  }

  #send(frame) {
    this.#ws.send(JSON.stringify(frame));
  }

  #take(frame) {
    if (frame.type === 'message' && frame.room === ROOM) {
      this.#position = { epoch: frame.epoch ?? this.#position.epoch, offset: frame.offset };
      this.owner.onMessage(frame.data);
    } else if (frame.type === 'connected') {
      this.#socketId = frame.socketId;
      if (!this.#position) this.#send({ type: 'join-event', eventId: EVENT });
    } else if (frame.type === 'event-joined' || (frame.type === 'room-reset' && frame.room === ROOM)) {
      this.#stand(frame);
    } else if (frame.type === 'session-restored') {
      const room = frame.rooms.find((each) => each.room === ROOM);
      if (room && !room.recovered) this.#stand(room);
      else this.owner.onIn();
    } else if (frame.type === 'error' && !frame.retryable) {
      throw new Error(JSON.stringify(frame));
    } else if (frame.type === 'error') {
      this.#ws.terminate(); // come back, as for any other trouble
    }
  }

  #stand({ epoch, offset }) {
    this.#position = { epoch, offset };
    this.owner.onIn();
  }
}

/** The official client; of its own it decides nothing but what it tells the server to recover. */
class SocketIo {
  #socket;

  constructor(owner, token) {
    this.owner = owner;
    this.token = token;
  }

  open(url) {
    if (!this.#socket) this.#make(url);
    this.#socket.io.uri = url;
    this.#socket.connect();
    this.#socket.io.engine.transport.ws.on('open', () => this.owner.onOpen());
  }

  #make(url) {
    this.#socket = io(url, {
      transports: ['websocket'],
      reconnection: false,
      autoConnect: false,
      forceNew: true,
      auth: { token: this.token },
    });
    this.#socket.on('connect', () => this.owner.onIn());
    this.#socket.on('message', (data) => this.owner.onMessage(data));
    this.#socket.on('disconnect', () => this.owner.onEnd());
    this.#socket.on('connect_error', () => this.owner.onEnd());
  }

  cut() {
    this.#socket.io.engine.transport.ws.terminate();
  }
}

export const CLIENTS = { keepseat: Keepseat, socketio: SocketIo, 'socketio-recovery': SocketIo };
