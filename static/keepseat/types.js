/**
 * The frames and options as types. Nothing here exists at run time; `docs/protocol.md` is the contract.
 */

/** @typedef {{ epoch: string, offset: number }} Position everything up to `offset` in `epoch` has been seen */
/** @typedef {Record<string, Position>} Resume a position for each room */
/** @typedef {{ type: string, id?: string | number, [field: string]: any }} Frame */

/** @typedef {'connecting' | 'connected' | 'reconnecting' | 'disconnected' | 'signed-out'} State */

/**
 * @typedef {object} StateChange
 * @property {State} state
 * @property {State} previous
 * @property {boolean} willRetry false: nothing more happens by itself
 * @property {number} [code] the close code that led here
 * @property {string} [reason] the code word that came with it
 */

/**
 * @typedef {object} Connected
 * @property {string} socketId
 * @property {string} userId
 * @property {string} role
 * @property {string} instance
 * @property {number} serverTime
 * @property {number} tokenExpiresAt
 * @property {number} pingIntervalMs
 * @property {Position & { room: string }} userRoom
 */

/**
 * @typedef {object} RestoredRoom
 * @property {string} room
 * @property {string} [epoch]
 * @property {number} [offset]
 * @property {boolean} [recovered] every message after the position given follows
 * @property {number} [missed]
 * @property {string} [error] why the room was not rejoined
 */

/**
 * @typedef {object} SessionRestored
 * @property {{ eventId: string | null, queueEventId: string | null, seatEventId: string | null,
 *   selectedSeats: string[], lastActivity: number | null, data: Record<string, any> }} session
 * @property {RestoredRoom[]} rooms
 * @property {Record<string, any> | null} queue
 * @property {Record<string, any> | null} seats
 */

/** @typedef {{ room: string, offset: number, data: any, sentAt: number }} Message */
/** @typedef {{ eventId: string, userCount: number }} RoomInfo */
/** @typedef {Position & { room: string, recovered?: boolean, missed?: number }} RoomJoined */
/** @typedef {RoomJoined & { eventId: string, userCount: number }} EventJoined */

/**
 * @typedef {Position & { room: string, cause: 'server' | 'resume' }} RoomReset
 * something of this room may have been missed: because the server says so (`server`), or because a
 * position was too old to resume from (`resume`)
 */

/**
 * @typedef {object} QualityFigures
 * @property {'good' | 'fair' | 'poor' | null} level null before the first heartbeat was answered
 * @property {number | null} p50Ms round trip: half of the newest 30 heartbeats were quicker
 * @property {number | null} p95Ms
 * @property {number | null} jitterMs how much a round trip differs from the one before, on average
 * @property {number} late of the newest 30, those that took longer than 1 s
 * @property {number} missed lines given up in the last hour because a heartbeat was not answered
 * @property {number} reconnects lines that broke in the last hour
 */

/**
 * The client's own events by name. Every other frame of the server is an event too, under its `type`.
 *
 * @typedef {object} Events
 * @property {StateChange} state
 * @property {Connected} connected
 * @property {SessionRestored} session-restored
 * @property {Message} message
 * @property {RoomInfo} room-info
 * @property {RoomReset} room-reset
 * @property {QualityFigures} quality
 */

/**
 * @callback GetToken
 * @param {{ refresh: boolean, refused?: string }} wish with `refresh`, one other than `refused`
 * @returns {Promise<string | null | undefined>} nothing: nobody is signed in. A rejection is taken for a
 *   passing failure, and is tried again
 */

/**
 * @typedef {object} Options
 * @property {string | URL} [url] default: `/ws` of the page's own server
 * @property {GetToken} getToken
 * @property {Storage | null} [storage] where positions outlive a reload; default: `sessionStorage`
 * @property {string} [storageKey] one a user, so that nobody resumes another's rooms
 * @property {number} [commandTimeoutMs]
 * @property {number} [connectTimeoutMs] from opening the socket to `connected`
 * @property {number} [idleMs] after this long without a frame the server is asked for one
 * @property {number} [deadMs] after this long without a frame the line is dead
 * @property {(failures: number) => number} [backoff]
 */

/**
 * @typedef {Required<Pick<Options, 'url' | 'getToken' | 'connectTimeoutMs' | 'idleMs' | 'deadMs' | 'backoff'>>} Settings
 * what the connection itself needs, with the defaults filled in
 */

export {};
