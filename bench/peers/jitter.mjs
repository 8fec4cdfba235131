// Many clients in one room whose lines are cut again and again, while numbered messages are published.
// All clocks are in this process. The task comes as JSON on stdin, the result goes to stdout.

import { createRequire } from 'node:module';
import { text } from 'node:stream/consumers';

import { CLIENTS, EVENT } from './clients.mjs';

const jwt = createRequire(`${process.cwd()}/`)('jsonwebtoken');

const task = JSON.parse(await text(process.stdin));
const JOINS_AT_ONCE = 50;
const RETRY_MS = 500;
const SETTLE_MS = 30_000;
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** The same numbers for the same seed, on every machine. */
function randomFrom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const published = { last: -1 };

/** What befell one user. */
class User {
  times = new Uint16Array(task.messages); // how often each message came
  cuts = 0;
  replays = [];
  unfinished = 0; // back, and cut again before all was replayed
  outOfOrder = 0;
  surprises = 0; // ends that nobody here had caused
  #last = -1;
  #away = true;
  #over = false;
  #openedAt = 0; // the first time since the cut; 0: all that was missed is here
  #missing = 0;
  #target = -1;
  #retry;

  constructor(number) {
    this.random = randomFrom(task.seed * 1_000_003 + number);
    const token = jwt.sign({ sub: `user-${number}` }, task.secret, { expiresIn: '1h' });
    this.line = new CLIENTS[task.system](this, token);
    this.joined = new Promise((done) => (this.onJoined = done));
  }

  open() {
    this.#away = false;
    this.line.open(task.urls[Math.floor(this.random() * task.urls.length)]);
  }

  /** Cut the line about every 15 s for about 2 s until the end. */
  async live(endsAt) {
    let pause = this.random() * task.cutEveryMs;
    while (performance.now() + pause < endsAt) {
      await sleep(pause);
      this.cuts += 1;
      clearTimeout(this.#retry);
      this.#away = true;
      this.#giveUp();
      this.line.cut();
      await sleep(task.awayMs * (0.5 + this.random()));
      this.open();
      pause = task.cutEveryMs * (0.5 + this.random());
    }
  }

  stop() {
    this.#over = true;
    clearTimeout(this.#retry);
    this.#giveUp();
    this.line.cut();
  }

  get hasAll() {
    return !this.#away && this.times.subarray(0, published.last + 1).every(Boolean);
  }

  #giveUp() {
    if (this.#openedAt) this.unfinished += 1;
    this.#openedAt = 0;
  }

  onOpen() {
    this.#openedAt ||= performance.now();
    this.#target = published.last;
    this.#missing = this.times.subarray(0, published.last + 1).filter((times) => !times).length;
    if (!this.#missing) this.#openedAt = 0;
  }

  onIn() {
    this.onJoined();
  }

  onMessage({ number }) {
    if (number < this.#last) this.outOfOrder += 1;
    this.#last = Math.max(this.#last, number);
    this.times[number] += 1;
    if (!this.#openedAt || this.times[number] > 1 || number > this.#target) return;
    this.#missing -= 1;
    if (this.#missing) return;
    this.replays.push(performance.now() - this.#openedAt);
    this.#openedAt = 0;
  }

  onEnd() {
    if (this.#away || this.#over) return;
    this.surprises += 1;
    this.#away = true;
    this.#retry = setTimeout(() => this.open(), RETRY_MS);
  }
}

/** Ours may say that the outcome is unknown: asked again with the same key, it is published once. */
async function publish(number) {
  const url = task.urls[number % task.urls.length];
  const data = { number, text: 'x'.repeat(150) };
  const ours = task.system === 'keepseat';
  const request = {
    method: 'POST',
    headers: ours ? { Authorization: `Bearer ${task.apiKey}`, 'Idempotency-Key': `${number}` } : {},
    body: JSON.stringify(ours ? { data } : data),
  };
  for (;;) {
    const response = await fetch(ours ? `${url}/api/rooms/event:${EVENT}/messages` : `${url}/publish`, request);
    const answer = await response.text();
    if (response.ok) break;
    if (response.status !== 503) throw new Error(`publish: ${response.status} ${answer}`);
    await sleep(RETRY_MS);
  }
  published.last = number; // one after the other: all before it are published too
}

async function publishAll(beganAt) {
  for (let number = 0; number < task.messages; number += 1) {
    const dueAt = beganAt + ((number + 0.5) / task.messages) * task.seconds * 1000;
    await sleep(Math.max(0, dueAt - performance.now()));
    await publish(number);
  }
}

/** Until everybody has everything, or nothing more can be hoped for. */
async function settle(users) {
  const until = performance.now() + SETTLE_MS;
  let before = -1;
  while (performance.now() < until) {
    const complete = users.filter((user) => user.hasAll).length;
    if (complete === users.length) return;
    await sleep(2000);
    const after = users.reduce((sum, user) => sum + user.times.filter(Boolean).length, 0);
    if (after === before) return;
    before = after;
  }
}

const users = Array.from({ length: task.clients }, (_, number) => new User(number));
for (let at = 0; at < users.length; at += JOINS_AT_ONCE) {
  const some = users.slice(at, at + JOINS_AT_ONCE);
  for (const user of some) user.open();
  await Promise.all(some.map((user) => user.joined));
}
const beganAt = performance.now();
const endsAt = beganAt + task.seconds * 1000;
await Promise.all([publishAll(beganAt), ...users.map((user) => user.live(endsAt))]);
await settle(users);
for (const user of users) user.stop();

const sum = (of) => users.reduce((total, user) => total + of(user), 0);
const result = {
  expected: task.clients * task.messages,
  delivered: sum((user) => user.times.filter(Boolean).length),
  duplicates: sum((user) => user.times.reduce((all, times) => all + Math.max(0, times - 1), 0)),
  outOfOrder: sum((user) => user.outOfOrder),
  cuts: sum((user) => user.cuts),
  unfinished: sum((user) => user.unfinished),
  surprises: sum((user) => user.surprises),
  replays: users.flatMap((user) => user.replays),
};
process.stdout.write(JSON.stringify(result), () => process.exit(0));
