/** Tokens: one call at a time, and one refresh for all tabs. */

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { Tokens } from '../../../static/keepseat/tokens.js';
import { fresh, pass, settle } from './fakes.mjs';

beforeEach(fresh);

test('one call for a token at a time', async () => {
  const calls = [];
  const tokens = new Tokens((wish) => new Promise((resolve) => calls.push({ wish, resolve })));
  const first = tokens.get(false);
  const twin = tokens.get(false);
  const fresh = tokens.get(true);
  await settle();
  assert.equal(calls.length, 1);
  calls[0].resolve('old');
  assert.deepEqual([await first, await twin], ['old', 'old']);
  await settle();
  calls[1].resolve('new');
  await settle();
  await pass(50);

  assert.equal(await fresh, 'new');
  assert.deepEqual(calls[1].wish, { refresh: true, refused: 'old' });
});

/**
 * Tabs of one site that share a store; each has a copy of it, which what another tab stores reaches `lagMs` later.
 *
 * @param {{ lagMs?: number, tabs?: number, fetch?: () => Promise<string | null> }} options
 */
function site({ lagMs = 0, tabs = 2, fetch = async () => `new-${site.refreshes}` }) {
  site.refreshes = 0;
  const copies = Array(tabs).fill('old');
  const store = (writer, token) => {
    copies[writer] = token;
    setTimeout(() => copies.fill(token), lagMs);
  };
  return copies.map((_, tab) => {
    return new Tokens(async ({ refresh, refused }) => {
      if (!refresh || copies[tab] !== refused) return copies[tab];
      site.refreshes += 1;
      const token = await fetch();
      store(tab, token);
      return token;
    });
  });
}

async function refreshAll(tabs) {
  await Promise.all(tabs.map((tab) => tab.get(false)));
  return tabs.map((tab) => tab.get(true));
}

async function passUntil(promises, limitMs = 5_000) {
  const all = Promise.allSettled(promises);
  let isOver = false;
  all.then(() => (isOver = true));
  for (let ms = 0; !isOver && ms < limitMs; ms += 10) await pass(10);
  assert.ok(isOver, 'nothing came in time');
  return all;
}

const values = (settled) => settled.map(({ value }) => value);

test('ten tabs refresh once, and what one has fetched the others take', async () => {
  const tabs = site({ tabs: 10 });
  assert.deepEqual(values(await passUntil(await refreshAll(tabs), 600)), Array(10).fill('new-1'));
  assert.equal(site.refreshes, 1);
});

test('a tab that has the lock before the other one has the token waits for the token', async () => {
  const tabs = site({ lagMs: 450 });
  assert.deepEqual(values(await passUntil(await refreshAll(tabs))), ['new-1', 'new-1']);
  assert.equal(site.refreshes, 1);
});

test('a tab that is told to refresh a moment after the other has refreshed takes that one', async () => {
  const [mina, twin] = site({ lagMs: 40 });
  await Promise.all([mina.get(false), twin.get(false)]);
  await passUntil([mina.get(true)]);

  assert.deepEqual(values(await passUntil([twin.get(true)])), ['new-1']);
  assert.equal(site.refreshes, 1);
});

test('where the other tab has failed, the next one refreshes', async () => {
  const fetch = async () => {
    if (site.refreshes === 1) throw new Error('the network is away');
    return 'new';
  };
  const [failed, fetched] = await passUntil(await refreshAll(site({ fetch })));
  assert.equal(failed.status, 'rejected');
  assert.equal(fetched.value, 'new');
});

test('a hidden page, whose timers come late, does not keep the others from their turn', async () => {
  const inTime = globalThis.setTimeout;
  const tabs = site({ tabs: 3, fetch: async () => Promise.reject(new Error('the network is away')) });
  const asked = await refreshAll(tabs);
  globalThis.setTimeout = (callback, ms) => inTime(callback, Math.max(ms, 1_000));
  await passUntil(asked);

  assert.equal(site.refreshes, 3);
});

test('where the store cannot be looked at, the token is refreshed', async () => {
  const tokens = [0, 1].map((tab) => {
    return new Tokens(async ({ refresh }) => {
      if (refresh) return `new-${tab}`;
      if (globalThis.navigator.locks.held.size) throw new Error('the store is away');
      return 'old';
    });
  });
  assert.deepEqual(values(await passUntil(await refreshAll(tokens))), ['new-0', 'new-1']);
});

test('who was signed out by another tab is not signed in again', async () => {
  const tabs = site({ fetch: async () => null });
  assert.deepEqual(values(await passUntil(await refreshAll(tabs))), [null, null]);
  assert.equal(site.refreshes, 1);
});
