/**
 * Vue composables for Keepseat, for Vue 3.5. Copy this file beside `keepseat/`.
 *
 *     createApp(App).use(keepseat, { getToken }).mount('#app');
 *
 *     const { isConnected, isReconnecting, restoredSession } = useKeepseat();
 *     const { status, position, join, leave } = useQueueUpdates('123', { onAdmitted: (pass) => … });
 *     const messages = useMessages('event:123');
 *
 * Nobody passes a user id: who the user is the token says.
 */

import { computed, inject, onScopeDispose, ref, shallowRef } from 'vue';

import { connect } from './keepseat/client.js';

const KEY = Symbol('keepseat');

/** One connection for the app; options as in docs/client.md. */
export const keepseat = {
  install(app, options) {
    const client = connect(options);
    app.provide(KEY, client);
    app.onUnmount(() => client.close());
  },
};

/** The connection; all but `client` are refs. */
export function useKeepseat() {
  const client = inject(KEY);
  const shown = follow(client, ['state', 'session-restored', 'quality'], () => ({
    state: client.state,
    isConnected: client.isConnected,
    isReconnecting: client.isReconnecting,
    restoredSession: client.restoredSession,
    level: client.quality.level,
  }));
  return { client, ...shown };
}

/** The user's place in an event's waiting room; `onAdmitted` gets the pass for your back end. */
export function useQueueUpdates(eventId, { onAdmitted } = {}) {
  const queue = inject(KEY).queue(eventId);
  const shown = follow(queue, ['change'], ({ status, position, total, etaSeconds, pass }) => {
    return { status, position, total, etaSeconds, pass };
  });
  listen(queue, 'change', ({ detail }) => {
    if (queue.status === 'admitted' && detail.previous !== 'admitted') onAdmitted?.(queue.pass);
  });
  return { ...shown, join: () => queue.join(), leave: () => queue.leave() };
}

/** The newest messages of a room, joined for as long as this is shown; `room-reset` stands where some are lost. */
export function useMessages(name, { limit = 100 } = {}) {
  const room = inject(KEY).room(name);
  const messages = ref([]);
  const stop = new AbortController();
  enter(room);
  (async () => {
    for await (const message of room.messages({ signal: stop.signal })) {
      messages.value = [...messages.value, message].slice(-limit);
    }
  })();
  onScopeDispose(() => {
    stop.abort();
    leave(room);
  });
  return messages;
}

/** How many show a room: it is joined with the first of them, and left with the last. */
const shown = new WeakMap();

function enter(room) {
  const count = shown.get(room) ?? 0;
  shown.set(room, count + 1);
  // an end of the client, or a leave, is no error here
  if (!count) room.join({ timeoutMs: Infinity }).catch((error) => shown.get(room) && console.error(error));
}

function leave(room) {
  shown.set(room, shown.get(room) - 1);
  if (!shown.get(room)) room.leave().catch(() => {}); // the client may be closed, or in the room no more
}

/** A ref for each field of what `read` says of a target, read again at its events. */
function follow(target, types, read) {
  const fields = shallowRef(read(target));
  for (const type of types) listen(target, type, () => (fields.value = read(target)));
  return Object.fromEntries(
    Object.keys(fields.value).map((name) => [name, computed(() => fields.value[name])]),
  );
}

function listen(target, type, listener) {
  target.addEventListener(type, listener);
  onScopeDispose(() => target.removeEventListener(type, listener));
}
