/** Who is signed in: the access token lies in `localStorage.token`, the refresh token in a cookie out of reach. */

import { HttpError, post } from './http.js';

const KEY = 'token';
/** Beside the token: the name as it was typed, with the user id that the server made of it. */
const NAME_KEY = 'name';

/** @returns {string | null} */
export const token = () => localStorage.getItem(KEY);

/** Of the token given, or of the one at hand; only to be shown: who we are the server reads for itself. */
export function userId(jwt = token()) {
  try {
    const payload = (jwt ?? '').split('.')[1].replace(/-/g, '+').replace(/_/g, '/');
    const bytes = Uint8Array.from(atob(payload), (char) => char.charCodeAt(0));
    const { sub, userId: id } = JSON.parse(new TextDecoder().decode(bytes));
    return String(sub ?? id ?? '');
  } catch {
    return '';
  }
}

/** @param {string} name */
export async function signIn(name) {
  const answer = await post('/auth/login', { name });
  localStorage.setItem(NAME_KEY, JSON.stringify({ userId: answer.userId, name }));
  localStorage.setItem(KEY, answer.token);
}

/** Another token for the same sign-in. @param {string} fresh */
export function setToken(fresh) {
  localStorage.setItem(KEY, fresh);
}

/** What to call the user: not every name is a user id. @param {string} user */
export function nameOf(user) {
  const { userId: owner, name } = JSON.parse(localStorage.getItem(NAME_KEY) ?? '{}');
  return owner === user ? name : user;
}

export async function signOut() {
  const last = token();
  forget();
  // if this fails the token dies of age, and nobody here has it any more
  await post('/auth/logout', {}, last ? { Authorization: `Bearer ${last}` } : {}).catch(() => {});
}

/** The token was refused: nobody is signed in, unless another tab has a newer one. @param {string} refused */
export function discard(refused) {
  if (token() === refused) forget();
}

function forget() {
  localStorage.removeItem(KEY);
  localStorage.removeItem(NAME_KEY);
}

/** For the client. @type {import('../keepseat/types.js').GetToken} */
export async function getToken({ refresh, refused }) {
  const current = token();
  // without a token nobody is signed in here, whatever the cookie says; another may come from another tab
  if (!current || !refresh || current !== refused) return current;
  try {
    const answer = await post('/auth/refresh');
    // signed out meanwhile, here or in another tab: it stays so
    if (token() !== current) return token();
    localStorage.setItem(KEY, answer.token);
    return answer.token;
  } catch (error) {
    if (error instanceof HttpError && error.status >= 400 && error.status < 500 && error.status !== 429)
      return null;
    throw error;
  }
}

/**
 * Another tab signed in, refreshed or signed out.
 *
 * @param {(token: string | null) => void} listener
 */
export function onOtherTab(listener) {
  addEventListener('storage', ({ key }) => {
    if (key === KEY || key === null) listener(token());
  });
}
