"""Everything one server process is made of, put together once, in the order of the arrows."""

from collections.abc import Sequence
from dataclasses import dataclass

from session.boards import Boards
from session.census import Census
from session.commands import Commands
from session.config import Config
from session.entrance import Entrance
from session.events import Events
from session.hub import Hub
from session.janitor import Janitor
from session.leases import Leases
from session.line_commands import LineCommands
from session.line_events import LineEvents
from session.listener import Listener
from session.lobby import Lobby
from session.manager import SessionManager
from session.metrics import Metrics
from session.presence import Presence
from session.recorder import Recorder
from session.restoring import Restorer
from session.rooms import Rooms
from session.seat_commands import SeatCommands
from session.seats import Seats
from session.sign_ins import SignIns
from session.store import Store
from session.survey import Survey
from session.ticker import Ticker
from session.tokens import Issuer, Verifier
from session.waiting_room import WaitingRooms
from session.watch import Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The parts of a process; handlers reach them through the application's settings."""

    config: Config
    metrics: Metrics
    api_key: str
    store: Store
    survey: Survey
    leases: Leases
    verifier: Verifier
    issuer: Issuer
    sign_ins: SignIns
    manager: SessionManager
    recorder: Recorder
    rooms: Rooms
    events: Events
    hub: Hub
    listener: Listener
    watch: Watch
    presence: Presence
    seats: Seats
    boards: Boards
    waiting_rooms: WaitingRooms
    ticker: Ticker
    lobby: Lobby
    janitor: Janitor
    entrance: Entrance
    commands: Commands
    census: Census

    @property
    def api_keys(self) -> list[str]:
        """The keys that the HTTP API takes; none: it is off."""
        return [key for key in (self.api_key, self.config.api_previous_key) if key]


def build(config: Config, *, redis_url: str, secret: str, api_key: str) -> Services:
    """Put the parts together; must be called on the event loop that they will run on.

    Raises:
        ConfigError: a key cannot be read.
    """
    metrics = Metrics()
    store = Store(redis_url, metrics)
    survey = Survey(store)
    leases = Leases(store, survey)
    verifier, issuer = Verifier(config, secret), Issuer(config, secret)
    verifier.on_previous = metrics.previous_keys.labels("jwt").inc
    manager = SessionManager(store, config, leases)
    recorder = Recorder(store, config, metrics)
    rooms = Rooms(store, config)
    hub = Hub(config, metrics)
    listener = Listener(store, rooms, hub, metrics, leases.instance)
    watch = Watch(store, rooms, manager, hub, listener)
    presence = Presence(rooms, hub, leases)
    seats, waiting_rooms = Seats(store, config), WaitingRooms(store, config, leases)
    ticker = Ticker(waiting_rooms, seats, metrics)
    boards = Boards(store, seats, hub, listener, recorder)
    line_events = LineEvents(issuer, store)
    lobby = Lobby(
        waiting_rooms=waiting_rooms, manager=manager, hub=hub, listener=listener,
        ticker=ticker, events=line_events, recorder=recorder, metrics=metrics,
    )  # fmt: skip
    janitor = Janitor(manager, hub, leases)
    restorer = Restorer(
        config=config, metrics=metrics, store=store, hub=hub, listener=listener, leases=leases, lobby=lobby,
        line_events=line_events, boards=boards, recorder=recorder,
    )  # fmt: skip
    entrance = Entrance(
        metrics=metrics, store=store, verifier=verifier, manager=manager, restorer=restorer, hub=hub,
        listener=listener, leases=leases, janitor=janitor, lobby=lobby, boards=boards, recorder=recorder,
    )  # fmt: skip
    watch.on_doubt = janitor.doubt
    watch.on_line, watch.on_seats = lobby.doubts.add, boards.doubts.add
    janitor.reattach = entrance.reattach
    janitor.is_rush = lambda: entrance.turnstile.waiting > 0 and not hub.draining
    janitor.sweep_lines = lobby.absences.sweep
    commands = Commands(
        config=config, metrics=metrics, store=store, manager=manager, rooms=rooms, hub=hub,
        listener=listener, entrance=entrance, presence=presence,
    )  # fmt: skip
    line = LineCommands(
        config=config, manager=manager, waiting_rooms=waiting_rooms, listener=listener, entrance=entrance,
        lobby=lobby, line_events=line_events, recorder=recorder,
    )  # fmt: skip
    seating = SeatCommands(
        config=config, manager=manager, seats=seats, waiting_rooms=waiting_rooms, listener=listener,
        entrance=entrance, boards=boards, ticker=ticker, recorder=recorder,
    )  # fmt: skip
    commands.add(line.table, line.unanswered)
    commands.add(seating.table, seating.unanswered)

    async def on_incarnation() -> None:
        """Another store answers, or the same one, older: what it has lost is written again."""
        await janitor.doubt_all()
        lobby.put_back_all()
        boards.doubt_all()

    def on_booking(event_id: str, user_id: str, booked: Sequence[str]) -> None:
        metrics.bookings.labels("ok" if booked else "conflict").inc()
        if booked:
            recorder.seats(user_id, event_id, "booked", booked)

    def on_user_gone(user_id: str) -> None:
        lobby.user_gone(user_id)
        boards.forget(user_id)

    events = Events(store, config)
    census = Census(
        store=store, leases=leases, hub=hub, metrics=metrics, events=events, waiting_rooms=waiting_rooms
    )
    leases.on_incarnation = on_incarnation
    hub.on_user_gone = on_user_gone
    seats.on_booking = on_booking
    return Services(
        config=config, metrics=metrics, api_key=api_key, store=store, survey=survey, leases=leases,
        verifier=verifier, issuer=issuer, sign_ins=SignIns(store, verifier, issuer, config), manager=manager,
        recorder=recorder, rooms=rooms, events=events, hub=hub, listener=listener, watch=watch,
        presence=presence, seats=seats, boards=boards, waiting_rooms=waiting_rooms, ticker=ticker,
        lobby=lobby, janitor=janitor, entrance=entrance, commands=commands, census=census,
    )  # fmt: skip
