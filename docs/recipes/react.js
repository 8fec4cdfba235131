/**
 * React hooks for Keepseat, for React 18 and 19. Copy this file beside `keepseat/`.
 *
 *     <KeepseatProvider getToken={getToken}> … </KeepseatProvider>
 *
 *     const { isConnected, isReconnecting, restoredSession } = useKeepseat();
 *     const { status, position, join, leave } = useQueueUpdates('123', { onAdmitted: (pass) => … });
 *     const messages = useMessages('event:123');
 *
 * Nobody passes a user id: who the user is the token says.
 */

import {
  createContext,
  createElement,
  useContext,
  useEffect,
  useMemo,
  useRef,
  useState,
  useSyncExternalStore,
} from 'react';

import { connect } from './keepseat/client.js';

const KeepseatContext = createContext(null);

/** One connection for all that is inside. `getToken` as in docs/client.md. */
export function KeepseatProvider({ getToken, url, children }) {
  const [client, setClient] = useState(null);
  const askForToken = useLatest(getToken);
  useEffect(() => {
    const made = connect({ url, getToken: (wish) => askForToken.current(wish) });
    setClient(made);
    return () => made.close();
  }, [url]);
  return createElement(KeepseatContext.Provider, { value: client }, children);
}

/** The connection; `client` is null until the provider is mounted. */
export function useKeepseat() {
  const client = useContext(KeepseatContext);
  const shown = useSnapshot(client, ['state', 'session-restored', 'quality'], () => ({
    state: client?.state ?? 'connecting',
    isConnected: client?.isConnected ?? false,
    isReconnecting: client?.isReconnecting ?? false,
    restoredSession: client?.restoredSession ?? null,
    level: client?.quality.level ?? null,
  }));
  return { client, ...shown };
}

/** The user's place in an event's waiting room; `onAdmitted` gets the pass for your back end. */
export function useQueueUpdates(eventId, { onAdmitted } = {}) {
  const client = useContext(KeepseatContext);
  const queue = client?.queue(eventId) ?? null;
  const tell = useLatest(onAdmitted);
  useEffect(() => {
    const listen = ({ detail }) => {
      if (queue.status === 'admitted' && detail.previous !== 'admitted') tell.current?.(queue.pass);
    };
    queue?.addEventListener('change', listen);
    return () => queue?.removeEventListener('change', listen);
  }, [queue]);
  const shown = useSnapshot(queue, ['change'], () => ({
    status: queue?.status ?? 'none',
    position: queue?.position ?? null,
    total: queue?.total ?? null,
    etaSeconds: queue?.etaSeconds ?? null,
    pass: queue?.pass ?? null,
  }));
  const commands = useMemo(() => ({ join: () => queue?.join(), leave: () => queue?.leave() }), [queue]);
  return { ...shown, ...commands };
}

/** The newest messages of a room, joined for as long as this is shown; `room-reset` stands where some are lost. */
export function useMessages(room, { limit = 100 } = {}) {
  const client = useContext(KeepseatContext);
  const [messages, setMessages] = useState([]);
  useEffect(() => {
    if (!client) return;
    const stop = new AbortController();
    enter(client.room(room));
    (async () => {
      for await (const message of client.room(room).messages({ signal: stop.signal })) {
        setMessages((before) => [...before, message].slice(-limit));
      }
    })();
    return () => {
      stop.abort();
      leave(client.room(room));
      setMessages([]);
    };
  }, [client, room, limit]);
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

/** What `read` says of a target, read again at its events; the same object while nothing in it has changed. */
function useSnapshot(target, types, read) {
  const last = useRef({});
  const subscribe = useMemo(() => {
    return (tell) => {
      types.forEach((type) => target?.addEventListener(type, tell));
      return () => types.forEach((type) => target?.removeEventListener(type, tell));
    };
  }, [target]);
  const snapshot = () => {
    const now = read();
    const isSame = Object.keys(now).every((name) => Object.is(now[name], last.current[name]));
    return isSame ? last.current : (last.current = now);
  };
  return useSyncExternalStore(subscribe, snapshot, snapshot);
}

function useLatest(value) {
  const ref = useRef(value);
  useEffect(() => {
    ref.current = value;
  });
  return ref;
}
