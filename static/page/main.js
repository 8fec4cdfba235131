/** The page, top to bottom: words, who is signed in, one client, and the view that the address names. */

import '../keepseat/elements.js';
import { connect } from '../keepseat/client.js';
import { discard, getToken, nameOf, onOtherTab, signOut, token, userId } from './account.js';
import { dress, showChange } from './connection-banner.js';
import { h } from './dom.js';
import { showHeader } from './header.js';
import { History } from './history.js';
import { language, t } from './i18n.js';
import { clear, notify } from './notices.js';
import { qualityMeter } from './quality-meter.js';
import { signInView } from './sign-in.js';
import { loading, placeholder } from './states.js';
import { startTools } from './tools/start.js';
import { Wire } from './tools/wire.js';

/** @typedef {{ user: string, name: string, client: import('../keepseat/client.js').Client, history: History, end: (forget: boolean) => void }} Session */

const header = /** @type {HTMLElement} */ (document.getElementById('top'));
const main = /** @type {HTMLElement} */ (document.getElementById('main'));
const status = /** @type {HTMLElement} */ (document.querySelector('connection-status'));

/** @type {Session | null} */
let session = null;
let view = new AbortController();

// --- sign-in ---

function begin() {
  if (token()) startSession();
  else showSignIn({ expired: false });
}

/** @param {{ expired: boolean }} why */
function showSignIn({ expired }) {
  endSession(false);
  showHeader(header, null);
  show(signInView({ expired, onSignedIn: begin }), t('signIn'));
  document.getElementById('name')?.focus();
}

function startSession() {
  const user = userId();
  const life = new AbortController();
  let given = token() ?? '';
  const wire = new Wire();
  wire.install();
  const client = connect({ getToken: givenToken, storageKey: `keepseat:${user}` });
  const history = new History(client, `messages:${user}`, life.signal);
  /** @type {typeof getToken} */
  async function givenToken(wish) {
    const fresh = await getToken(wish);
    if (fresh) given = fresh;
    return fresh;
  }

  client.on('state', (change) => showState(change, given), { signal: life.signal });
  client.on('session-restored', welcomeBack, { signal: life.signal });
  client.on('queue-entry-allowed', callIn, { signal: life.signal });
  session = {
    user,
    name: nameOf(user),
    client,
    history,
    end(forget) {
      life.abort();
      if (forget) history.forget();
      client.close({ forget });
    },
  };
  status.setAttribute('state', client.state);
  showHeader(header, { name: session.name, meter: qualityMeter(client, life.signal), onSignOut: leave });
  life.signal.addEventListener('abort', () => wire.remove());
  startTools(wire, client, life.signal);
  route();
}

/** @param {boolean} forget */
function endSession(forget) {
  view.abort();
  session?.end(forget);
  session = null;
  status.setAttribute('state', 'signed-out');
  clear();
}

async function leave() {
  endSession(true);
  const done = signOut();
  showSignIn({ expired: false });
  await done;
}

// --- the connection ---

/**
 * @param {import('../keepseat/types.js').StateChange} change
 * @param {string} given the token that the server last saw
 */
function showState(change, given) {
  const { state, reason } = change;
  if (state === 'signed-out') {
    // another tab has signed somebody else in: this page is theirs now
    if (reason === 'user_mismatch') return location.reload();
    discard(given);
    return showSignIn({ expired: reason !== 'token_required' });
  }
  if (state !== 'connected') clear();
  showChange(status, change);
}

/** @param {import('../keepseat/types.js').SessionRestored} restored */
function welcomeBack({ session: stored, rooms }) {
  const count = rooms.reduce((sum, { missed = 0 }) => sum + missed, 0);
  notify(count ? t('restored', { count }) : t('restoredNone'), wayTo(stored.eventId));
}

/** The user's turn has come; a user who is at the event sees it there. @param {import('../keepseat/types.js').Frame} allowed */
function callIn({ eventId }) {
  const link = wayTo(eventId);
  if (link) notify(t('admitted'), link);
}

/** Nothing where the user is there already. @param {string | null} eventId */
function wayTo(eventId) {
  const href = `#/events/${eventId}`;
  return eventId === null || location.hash === href ? null : { href, text: t('returnToEvent') };
}

// --- pages ---

/** Each view is loaded when it is wanted: who signs in need not wait for the map of the seats. */
async function route() {
  if (!session) return;
  view.abort();
  const life = new AbortController();
  view = life;
  const { title, load } = viewOf(location.hash, session, life.signal);
  document.title = `${title} · Keepseat`;
  main.replaceChildren(loading(2));
  const content = await load().catch(notLoaded);
  if (!life.signal.aborted) show(content, title);
}

/** A browser may remember that a module could not be had, so the page as a whole is fetched anew. */
function notLoaded() {
  const action = h('button', { class: 'primary', click: () => location.reload() }, t('retry'));
  const text = t('error_network');
  return placeholder({ sign: 'warning', title: t('loadFailed'), text, heading: 'h1', action });
}

/**
 * @param {string} hash
 * @param {Session} who
 * @param {AbortSignal} signal
 * @returns {{ title: string, load: () => Promise<HTMLElement> }}
 */
function viewOf(hash, who, signal) {
  const [, eventId] = hash.match(/^#\/events\/([A-Za-z0-9_-]{1,64})$/) ?? [];
  if (eventId) {
    return {
      title: t('loading'),
      load: async () => (await import('./event-page.js')).eventView(eventId, who, signal),
    };
  }
  if (hash === '#/tickets') {
    return {
      title: t('myTickets'),
      load: async () => (await import('./tickets-page.js')).ticketsView(who.name, signal),
    };
  }
  return { title: t('events'), load: async () => (await import('./event-list.js')).eventListView(signal) };
}

/**
 * @param {HTMLElement} content
 * @param {string} title
 */
function show(content, title) {
  document.title = `${title} · Keepseat`;
  main.replaceChildren(content);
  scrollTo(0, 0);
}

document.documentElement.lang = language;
dress(status);
status.addEventListener('retry', () => session?.client.reconnect());
addEventListener('hashchange', () => {
  clear();
  route();
  main.focus();
});
onOtherTab((now) => {
  if (!now && session) showSignIn({ expired: false });
  else if (now && userId(now) !== session?.user) location.reload();
});
begin();
