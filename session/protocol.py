"""The wire: every command, event, error code and close code, as ``docs/protocol.md`` describes them.

Pure: bytes in, structs out, and back. Commands come from clients, events go to them.
"""

import json
import re
from enum import IntEnum, StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

PROTOCOL_VERSION = 1
MAX_DATA_BYTES = 65536
"""Most bytes that the ``data`` of a message may have as JSON."""
MAX_SESSION_DATA_BYTES = 8192
"""Most bytes that a session's ``data`` may have as JSON."""


class Close(IntEnum):
    """Close codes; which of them a client should reconnect after stands in the protocol, section 5."""

    NORMAL = 1000
    PROTOCOL_ERROR = 1002
    UNSUPPORTED = 1003
    NOT_UTF8 = 1007
    POLICY = 1008
    TOO_BIG = 1009
    RESTART = 1012
    TRY_LATER = 1013
    UNAUTHORIZED = 3000
    REMOVED = 3003
    REPLACED = 4000
    NO_PONG = 4001


class Code(StrEnum):
    """Error codes, and the reasons with which a connection is refused."""

    TOKEN_REQUIRED = "token_required"
    AUTH_TIMEOUT = "auth_timeout"
    TOKEN_INVALID = "token_invalid"
    TOKEN_EXPIRED = "token_expired"
    TOKEN_REVOKED = "token_revoked"
    USER_MISMATCH = "user_mismatch"
    BAD_JSON = "bad_json"
    BAD_MESSAGE = "bad_message"
    UNKNOWN_TYPE = "unknown_type"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    NOT_JOINED = "not_joined"
    NOT_OPEN = "not_open"
    NOT_ADMITTED = "not_admitted"
    SEAT_UNAVAILABLE = "seat_unavailable"
    UNKNOWN_SEAT = "unknown_seat"
    TOO_MANY_SEATS = "too_many_seats"
    HOLD_LIMIT = "hold_limit"
    TOO_MANY_ROOMS = "too_many_rooms"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"


REFUSALS = frozenset(
    {
        Code.TOKEN_REQUIRED.value,
        Code.AUTH_TIMEOUT.value,
        Code.TOKEN_INVALID.value,
        Code.TOKEN_EXPIRED.value,
        Code.TOKEN_REVOKED.value,
        Code.USER_MISMATCH.value,
        Code.UNAVAILABLE.value,
    }
)
"""The reasons of a close frame with which a connection was refused, at connect or later."""
RETRYABLE = frozenset({Code.RATE_LIMITED, Code.UNAVAILABLE})


def _kebab(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()


CommandId = Annotated[str, Meta(max_length=64)] | int
Integer = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""As databases number rows. Not every JSON reader can hold it exactly (RFC 8259, 6): we say it as text."""
EventId = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]{1,64}\Z")] | Integer
RoomName = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]{1,32}:[A-Za-z0-9_.@:|-]{1,128}\Z")]
UserId = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_.@:|-]{1,128}\Z")] | Integer
Offset = Annotated[int, Meta(ge=0, lt=2**53)]
Epoch = Annotated[str, Meta(max_length=64)]
SeatWord = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._-]{1,32}\Z")]
"""A seat's id, or a section's name."""
MAX_SEATS_NAMED = 1000
"""A command names at most so many seats; no user may hold more."""
SeatIds = Annotated[list[SeatWord], Meta(min_length=1, max_length=MAX_SEATS_NAMED)]


def word(*words: str) -> Any:
    """The rule, for the documents, that a text is one of these; nothing checks what we say ourselves."""
    return Meta(extra_json_schema={"enum": list(words)})


Count = Annotated[int, Meta(ge=0)]
UnixMs = Annotated[int, Meta(ge=0, description="Unix milliseconds")]
HoldEnd = Annotated[int, Meta(ge=0, description="Unix milliseconds; null where nothing is held")] | None
LineStatus = Annotated[str, word("waiting", "admitted")]
LinePosition = Annotated[int, Meta(ge=1, description="counted from 1")]
LineSeconds = Annotated[int, Meta(ge=0, description="a guess; null where there is none")] | None
AdmissionEnd = Annotated[int, Meta(ge=0, description="Unix milliseconds; null where it has no end")] | None
Pass = Annotated[str, Meta(description="a JWT; null where the server has no secret to sign with")] | None
Missed = Annotated[int, Meta(ge=0, description="how many messages follow")]


class Since(Struct, frozen=True):
    """A position as a client names it."""

    epoch: Epoch
    offset: Offset


Resume = Annotated[dict[RoomName, Since | None], Meta(max_length=200)]
"""Where a client was in each room; None where it does not know."""


# --- commands ---------------------------------------------------------------------------------------


class Command(Struct, tag=_kebab, tag_field="type", rename="camel", frozen=True, kw_only=True):
    """What a client asks for; with an ``id`` it gets exactly one answer that carries it."""

    id: CommandId | None = None


class Auth(Command, frozen=True):
    """Bring the token: as the first frame, or to renew it."""

    token: str
    resume: Resume | None = None
    replaces: Annotated[str, Meta(max_length=64)] | None = None


class JoinEvent(Command, frozen=True):
    """Come into `event:<id>`, and leave the event that this connection was in."""

    event_id: EventId
    since: Since | None = None


class LeaveEvent(Command, frozen=True):
    """Leave `event:<id>`."""

    event_id: EventId


class JoinRoom(Command, frozen=True):
    """Come into a room that the token's `rooms` open."""

    room: RoomName
    since: Since | None = None


class LeaveRoom(Command, frozen=True):
    """Leave a room."""

    room: RoomName


class Publish(Command, frozen=True):
    """Say something in a room, where the token's `publish` lets; safe to repeat with its `key`."""

    room: RoomName
    data: Raw
    key: Annotated[str, Meta(min_length=1, max_length=64)] | None = None


class UpdateSession(Command, frozen=True):
    """Merge the client's own state into the session; null removes a key."""

    data: dict[Annotated[str, Meta(max_length=128)], Raw]


class Ping(Command, frozen=True):
    """Ask for a sign of life; `t` comes back as it is."""

    t: Raw | UnsetType = UNSET


class JoinQueue(Command, frozen=True):
    """Take a place in the line of an event, or find the one there is."""

    event_id: EventId
    since: Since | None = None


class LeaveQueue(Command, frozen=True):
    """Give up the place, or the admission."""

    event_id: EventId


class JoinSeats(Command, frozen=True):
    """See the seats of an event, and every change."""

    event_id: EventId
    since: Since | None = None


class LeaveSeats(Command, frozen=True):
    """Look at the seats no more; holds stay."""

    event_id: EventId


class HoldSeats(Command, frozen=True):
    """Hold these seats: all, or none."""

    event_id: EventId
    seats: SeatIds


class HoldBest(Command, frozen=True):
    """Hold the best seats that are free, side by side where there are any."""

    event_id: EventId
    count: Annotated[int, Meta(ge=1, le=MAX_SEATS_NAMED)]
    section: SeatWord | None = None


class ExtendHold(Command, frozen=True):
    """Lengthen the hold."""

    event_id: EventId


class ReleaseSeats(Command, frozen=True):
    """Release these seats, or all."""

    event_id: EventId
    seats: SeatIds | None = None


AnyCommand = (
    Auth
    | JoinEvent
    | LeaveEvent
    | JoinRoom
    | LeaveRoom
    | Publish
    | UpdateSession
    | Ping
    | JoinQueue
    | LeaveQueue
    | JoinSeats
    | LeaveSeats
    | HoldSeats
    | HoldBest
    | ExtendHold
    | ReleaseSeats
)


# --- events -----------------------------------------------------------------------------------------


class Event(Struct, tag=_kebab, tag_field="type", rename="camel", frozen=True, kw_only=True):
    """What the server says; an answer carries its command's ``id``."""

    id: CommandId | UnsetType = UNSET


class RoomPosition(Struct, rename="camel", frozen=True, kw_only=True):
    """Where a room is."""

    room: str
    epoch: str
    offset: Offset


class Connected(Event, frozen=True, kw_only=True):
    """The connection is let in."""

    socket_id: str
    user_id: str
    role: str
    instance: str
    server_time: UnixMs
    token_expires_at: UnixMs
    ping_interval_ms: Count
    protocol: int = PROTOCOL_VERSION
    user_room: RoomPosition


class SessionState(Struct, rename="camel", frozen=True, kw_only=True):
    """A stored session as clients and the back end see it; ids are null where not set."""

    event_id: str | None
    queue_event_id: str | None
    seat_event_id: str | None
    selected_seats: list[str]
    last_activity: UnixMs | None
    data: dict[str, Raw]


class RestoredRoom(Struct, rename="camel", frozen=True, kw_only=True):
    """How a room came back; with ``error`` it did not, and the other fields are absent."""

    room: str
    epoch: str | UnsetType = UNSET
    offset: Offset | UnsetType = UNSET
    recovered: bool | UnsetType = UNSET
    missed: Missed | UnsetType = UNSET
    error: Annotated[str, word("forbidden", "not_found", "too_many_rooms")] | UnsetType = UNSET


class RestoredQueue(Struct, rename="camel", frozen=True, kw_only=True):
    """Where the user stands in a line: ``waiting`` with a position, or ``admitted``."""

    event_id: str
    status: LineStatus
    position: LinePosition | UnsetType = UNSET
    total: Count | UnsetType = UNSET
    eta_seconds: LineSeconds | UnsetType = UNSET
    expires_at: AdmissionEnd | UnsetType = UNSET
    pass_: Pass | UnsetType = field(default=UNSET, name="pass")


class RestoredSeats(Struct, rename="camel", frozen=True, kw_only=True):
    """What the user holds."""

    event_id: str
    held: list[str]
    hold_expires_at: HoldEnd


class SessionRestored(Event, frozen=True):
    """What the user had, and how each room came back; what was missed follows."""

    session: SessionState
    rooms: list[RestoredRoom]
    queue: RestoredQueue | None = None
    seats: RestoredSeats | None = None


class Authenticated(Event, frozen=True):
    """The token was renewed."""

    token_expires_at: UnixMs


class TokenExpiring(Event, frozen=True):
    """The token is over soon: send `auth` with a new one."""

    expires_at: UnixMs


class EventJoined(Event, frozen=True):
    """The connection is in `event:<id>`."""

    event_id: str
    room: str
    epoch: str
    offset: Offset
    user_count: Count
    recovered: bool | UnsetType = UNSET
    missed: Missed | UnsetType = UNSET


class EventLeft(Event, frozen=True):
    """The connection is in `event:<id>` no more."""

    event_id: str


class RoomJoined(Event, frozen=True):
    """The connection is in the room."""

    room: str
    epoch: str
    offset: Offset
    recovered: bool | UnsetType = UNSET
    missed: Missed | UnsetType = UNSET


class RoomLeft(Event, frozen=True):
    """The connection is in the room no more."""

    room: str


class RoomReset(Event, frozen=True):
    """What came between could not be kept: from here on the room begins at this position."""

    room: str
    epoch: str
    offset: Offset


class RoomInfo(Event, frozen=True):
    """How many connections, over all servers, are in `event:<id>`."""

    event_id: str
    user_count: Count


class Published(Event, frozen=True):
    """Where in the room the message stands."""

    room: str
    epoch: str
    offset: Offset


class SessionUpdated(Event, frozen=True):
    """The whole of the client's own state."""

    data: dict[str, Raw]


class QueueJoined(Event, frozen=True, kw_only=True):
    """Where the user stands: `waiting` with a position, or `admitted`."""

    event_id: str
    room: str
    epoch: str
    offset: Offset
    recovered: bool | UnsetType = UNSET
    missed: Missed | UnsetType = UNSET
    status: LineStatus
    position: LinePosition | UnsetType = UNSET
    total: Count | UnsetType = UNSET
    eta_seconds: LineSeconds | UnsetType = UNSET
    expires_at: AdmissionEnd | UnsetType = UNSET
    pass_: Pass | UnsetType = field(default=UNSET, name="pass")


class QueueUpdated(Event, frozen=True, kw_only=True):
    """The position has changed."""

    event_id: str
    position: LinePosition
    total: Count
    eta_seconds: LineSeconds
    available: Count | None


class QueueEntryAllowed(Event, frozen=True, kw_only=True):
    """This user was let in."""

    event_id: str
    expires_at: AdmissionEnd
    pass_: Pass = field(name="pass")


class QueueLeft(Event, frozen=True):
    """The place or the admission is gone; without a reason because the user left."""

    event_id: str
    reason: Annotated[str, word("expired", "removed", "closed")] | UnsetType = UNSET


class SeatsJoined(Event, frozen=True, kw_only=True):
    """The seats at exactly this position."""

    event_id: str
    room: str
    epoch: str
    offset: Offset
    recovered: bool | UnsetType = UNSET
    missed: Missed | UnsetType = UNSET
    snapshot: Raw
    held: list[str]
    hold_expires_at: HoldEnd


class SeatsLeft(Event, frozen=True):
    """The connection is in `seats:<id>` no more."""

    event_id: str


class SeatsSnapshot(Event, frozen=True, kw_only=True):
    """The seats at exactly this position, where the history before it was lost."""

    room: str
    epoch: str
    offset: Offset
    event_id: str
    snapshot: Raw


class SeatsHeld(Event, frozen=True, kw_only=True):
    """All that the user now holds; without `id` where another connection, or the back end, changed it."""

    event_id: str
    held: list[str]
    hold_expires_at: HoldEnd


class SeatsReleased(Event, frozen=True, kw_only=True):
    """What the user still holds there."""

    event_id: str
    held: list[str]
    hold_expires_at: HoldEnd


class SeatsExpired(Event, frozen=True):
    """The user's hold is over."""

    event_id: str
    seats: list[str]


class SeatsUpdated(Event, frozen=True, kw_only=True):
    """Seats changed; written by the scripts. ``epoch`` stands there where the message begins a new one."""

    room: str
    epoch: Epoch | UnsetType = UNSET
    offset: Offset
    event_id: str
    seats: dict[SeatWord, Annotated[str, word("available", "held", "sold")]]


class Message(Event, frozen=True, kw_only=True):
    """A message in a room; written by the scripts. ``epoch`` stands there where it begins a new one."""

    room: str
    epoch: Epoch | UnsetType = UNSET
    offset: Offset
    data: Raw
    sent_at: UnixMs


class Pong(Event, frozen=True, kw_only=True):
    """A sign of life."""

    t: Raw | UnsetType = UNSET
    server_time: UnixMs


class Reconnect(Event, frozen=True):
    """This server goes away: connect to another after the delay. Nothing is lost."""

    reason: Annotated[str, word("shutdown")]
    delay_ms: Count


class Error(Event, frozen=True):
    """A command's answer, or why a connection is refused."""

    code: Annotated[str, word(*(code.value for code in Code))]
    message: str
    retryable: bool
    details: dict[str, Any] | UnsetType = UNSET


# --- errors, decoding, encoding ----------------------------------------------------------------------


class Refused(Exception):  # noqa: N818 - a command's outcome, not a programming error
    """A command that is answered with ``error``: nothing was changed, unless the details say otherwise."""

    def __init__(self, code: Code, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details

    def event(self, command_id: CommandId | UnsetType = UNSET) -> Error:
        """The frame that tells of it."""
        return Error(
            id=command_id,
            code=self.code.value,
            message=self.message,
            retryable=self.code in RETRYABLE,
            details=UNSET if self.details is None else self.details,
        )


class BadCommand(Refused):
    """A frame that is no command, with the ``id`` that its answer carries."""

    def __init__(
        self, code: Code, message: str, command_id: CommandId | UnsetType = UNSET, command_type: str = ""
    ) -> None:
        super().__init__(code, message)
        self.command_id = command_id
        self.command_type = command_type


NOT_JSON = "the frame is not JSON"


class _Envelope(Struct):
    type: Any = UNSET
    id: Any = UNSET


_commands: msgspec.json.Decoder[AnyCommand] = msgspec.json.Decoder(AnyCommand)
_envelopes = msgspec.json.Decoder(_Envelope)
_ids = msgspec.json.Decoder(CommandId)
_resumes = msgspec.json.Decoder(Resume)
_encoder = msgspec.json.Encoder()
encode = _encoder.encode
"""Any event, or any plain value, as JSON bytes."""

COMMAND_TYPES = frozenset(_kebab(c.__name__) for c in AnyCommand.__args__)


def decode(text: str) -> AnyCommand:
    """Read one command.

    Raises:
        BadCommand: not JSON, not an object, an unknown type, or a field that breaks its rule.
    """
    try:
        return _commands.decode(text)
    except msgspec.ValidationError as error:
        raise _explain(text, error) from None
    except msgspec.DecodeError:
        raise _explain_unreadable(text) from None
    except (RecursionError, UnicodeError):
        raise BadCommand(Code.BAD_JSON, NOT_JSON) from None


def _explain_unreadable(text: str) -> BadCommand:
    """Half of a surrogate pair, such as of a text cut in an emoji, is JSON for others (RFC 8259, 8.2) if
    not for us: its sender waits for an answer with the command's id."""
    command_id: CommandId | UnsetType = UNSET
    try:
        found = json.loads(text, parse_constant=_refuse_constant)
        if isinstance(found, dict) and found.get("id") is not None:
            command_id = _ids.decode(encode(found["id"]))
    except (ValueError, RecursionError, msgspec.ValidationError, OverflowError):
        return BadCommand(Code.BAD_JSON, NOT_JSON)
    return BadCommand(Code.BAD_JSON, f"{NOT_JSON}: half of a surrogate pair stands in a text", command_id)


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def _explain(text: str, error: msgspec.ValidationError) -> BadCommand:
    """Say what is wrong, with the command's id where it is a good one."""
    try:
        envelope = _envelopes.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return BadCommand(Code.BAD_MESSAGE, f"bad message: {error}")
    command_id: CommandId | UnsetType = UNSET
    kind = envelope.type if isinstance(envelope.type, str) else ""
    if envelope.id is not UNSET and envelope.id is not None:
        try:
            command_id = _ids.decode(encode(envelope.id))
        except (msgspec.ValidationError, OverflowError):
            rule = "id: must be a string of at most 64 characters, or an integer"
            return BadCommand(Code.BAD_MESSAGE, rule, command_type=kind)
    if not isinstance(envelope.type, str):
        return BadCommand(Code.BAD_MESSAGE, "type: must be a string", command_id)
    if envelope.type not in COMMAND_TYPES:
        return BadCommand(Code.UNKNOWN_TYPE, f"unknown type {envelope.type[:64]!r}", command_id)
    return BadCommand(Code.BAD_MESSAGE, f"{envelope.type}: {error}", command_id, envelope.type)


def decode_resume(text: str) -> dict[str, Since | None]:
    """Read the query parameter ``resume``.

    Raises:
        BadCommand: it is not the JSON that it should be.
    """
    try:
        return _resumes.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise BadCommand(Code.BAD_MESSAGE, f"resume: {error}") from None


def text_frame(payload: bytes) -> bytes:
    """Pack a payload as one unmasked WebSocket text frame (RFC 6455, 5.2), once for all its readers."""
    size = len(payload)
    if size < 126:
        return b"\x81" + bytes((size,)) + payload
    if size < 65536:
        return b"\x81\x7e" + size.to_bytes(2) + payload
    return b"\x81\x7f" + size.to_bytes(8) + payload


def pack(event: Event) -> bytes:
    """An event as a WebSocket frame."""
    return text_frame(encode(event))
