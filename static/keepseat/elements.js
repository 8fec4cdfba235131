/** Registers the custom elements: import this for the effect, or the classes for names of your own. */

import { ConnectionQuality } from './connection-quality.js';
import { ConnectionStatus } from './connection-status.js';

if (!customElements.get('connection-status')) customElements.define('connection-status', ConnectionStatus);
if (!customElements.get('connection-quality')) customElements.define('connection-quality', ConnectionQuality);
