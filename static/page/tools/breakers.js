/** Three ways to break things, so that one can see that nothing is lost: the line, the server, the token. */

import { getToken, setToken, token } from '../account.js';
import { h, icon } from '../dom.js';
import { HttpError, post } from '../http.js';
import { errorText, formatSeconds, t } from '../i18n.js';

const CUT_SECONDS = [3, 10, 30];
const TICK_MS = 250;

/**
 * @param {object} options
 * @param {import('./wire.js').Wire} options.wire
 * @param {import('../../keepseat/client.js').Client} options.client
 * @param {boolean} options.mayKill
 * @param {AbortSignal} options.signal
 */
export function breakers({ wire, client, mayKill, signal }) {
  const said = h('p', { class: 'said', role: 'status' });
  const length = /** @type {HTMLSelectElement} */ (
    h(
      'select',
      { name: 'cut', 'aria-label': t('cutFor') },
      ...CUT_SECONDS.map((count) => h('option', { value: String(count) }, formatSeconds(count))),
    )
  );

  /**
   * @param {string} sign
   * @param {import('../i18n.js').Key} words
   * @param {() => Promise<void> | void} work
   */
  function button(sign, words, work) {
    const click = () => Promise.resolve(work()).catch((error) => (said.textContent = reason(error)));
    return h('button', { type: 'button', class: 'secondary', click }, icon(sign), t(words));
  }

  function cut() {
    wire.cut(1000 * Number(length.value));
    const timer = setInterval(tellCut, TICK_MS);
    const stop = () => clearInterval(timer);
    signal.addEventListener('abort', stop);
    tellCut();

    function tellCut() {
      const left = Math.ceil((wire.cutUntil - Date.now()) / 1000);
      said.textContent = t(left > 0 ? 'lineCut' : 'lineWhole', { seconds: formatSeconds(left) });
      if (left > 0) return;
      stop();
      client.reconnect();
    }
  }

  async function kill() {
    const instance = client.connected?.instance;
    await call('/demo/kill', { instance });
    said.textContent = t('serverKilled', { server: instance ?? '' });
  }

  /** The one at hand is replaced by one that is over in seconds: it is renewed on the open line. */
  async function expire() {
    const { token: short } = await call('/demo/token');
    setToken(short);
    await client.command('auth', { token: short });
    said.textContent = t('tokenShort');
  }

  return h(
    'div',
    { class: 'breakers' },
    h('div', {}, button('cut', 'cutLine', cut), length),
    mayKill && button('bolt', 'killServer', kill),
    button('key', 'expireToken', expire),
    said,
  );
}

/**
 * @param {string} path
 * @param {object} [body]
 */
async function call(path, body) {
  const current = token() ?? undefined;
  const send = (/** @type {string | null | undefined} */ jwt) => post(path, body, { Authorization: `Bearer ${jwt}` });
  try {
    return await send(current);
  } catch (error) {
    if (!(error instanceof HttpError && error.status === 401)) throw error;
    return send(await getToken({ refresh: true, refused: current }));
  }
}

/** @param {{ code: string }} error */
const reason = ({ code }) => t('failed', { reason: errorText(code) });
