/** Registers the elements of a sale: import this for the effect, or the classes for names of your own. */

import { HoldCountdown } from './hold-countdown.js';
import { SeatMap } from './seat-map.js';
import { WaitingRoom } from './waiting-room.js';

/** @type {Record<string, CustomElementConstructor>} */
const ELEMENTS = { 'hold-countdown': HoldCountdown, 'seat-map': SeatMap, 'waiting-room': WaitingRoom };

for (const [name, element] of Object.entries(ELEMENTS)) {
  if (!customElements.get(name)) customElements.define(name, element);
}
