/** Asks again and again what all servers do; one question at a time, and none while nobody looks. */

import { HttpError, request } from '../http.js';

const EVERY_MS = 2_000;

/**
 * @typedef {{ instance: string, connections: number, restores: number, recovered: number, reset: number }} Server
 * @typedef {{ eventId: string, title: string, waiting: number, admitted: number, held: number, sold: number,
 *   available: number | null, paused: boolean }} EventFigures
 * @typedef {{ connections: number, restores: number, waiting: number, admitted: number, held: number, sold: number,
 *   servers: Server[], events: EventFigures[] }} Overview
 */

/**
 * @param {string} key
 * @param {{ onFigures: (overview: Overview) => void, onTrouble: () => void, onRefused: () => void }} listeners
 * @param {AbortSignal} signal
 */
export async function watchOverview(key, { onFigures, onTrouble, onRefused }, signal) {
  const headers = { Authorization: `Bearer ${key}` };
  while (!signal.aborted) {
    try {
      const overview = await request('/api/overview', { headers, signal });
      if (!signal.aborted) onFigures(overview);
    } catch (error) {
      if (signal.aborted) return;
      const { status } = /** @type {HttpError} */ (error);
      // 404: this server has no API
      if (status === 401 || status === 404) return onRefused();
      onTrouble();
    }
    await pause(signal);
  }
}

/** @param {AbortSignal} signal */
async function pause(signal) {
  await new Promise((resolve) => {
    const timer = setTimeout(resolve, EVERY_MS);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve(undefined);
    });
  });
  if (!document.hidden) return;
  await new Promise((resolve) => {
    document.addEventListener('visibilitychange', resolve, { once: true, signal });
    signal.addEventListener('abort', resolve);
  });
}
