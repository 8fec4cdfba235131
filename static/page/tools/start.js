/** The developers' drawer of a demo: on a server that is none, nothing of it is loaded. */

import { h } from '../dom.js';
import { request } from '../http.js';
import { Positions } from './positions.js';

/**
 * @param {import('./wire.js').Wire} wire
 * @param {import('../../keepseat/client.js').Client} client
 * @param {AbortSignal} signal the end of the session
 */
export async function startTools(wire, client, signal) {
  const positions = new Positions();
  wire.addEventListener('frame', (event) => positions.note(/** @type {CustomEvent} */ (event).detail.frame), {
    signal,
  });
  const demo = await request('/demo').catch(() => null);
  if (signal.aborted || !demo) return;
  // where the server goes away meanwhile the browser's console names what is missing; the page does without
  const [tools] = await Promise.all([import('./drawer.js').catch(() => null), loadStyle()]);
  if (signal.aborted || !tools) return;
  const element = tools.drawer({ wire, positions, client, mayKill: demo.kill, signal });
  document.body.append(element);
  signal.addEventListener('abort', () => element.remove());
}

/** Waited for: without it the drawer would lie in the page, and then jump. @returns {Promise<void>} */
function loadStyle() {
  const href = '/static/styles/tools.css';
  if (document.querySelector(`link[href="${href}"]`)) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => resolve();
    document.head.append(h('link', { rel: 'stylesheet', href, load: done, error: done }));
  });
}
