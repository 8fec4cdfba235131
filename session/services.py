"""Everything one server process is made of, put together once, in the order of the arrows."""

from dataclasses import dataclass

from session import keys
from session.commands import Commands
from session.config import Config
from session.entrance import Entrance
from session.events import Events
from session.hub import Hub
from session.janitor import Janitor
from session.leases import Leases
from session.listener import Listener
from session.manager import SessionManager
from session.metrics import Metrics
from session.presence import Presence
from session.rooms import Rooms
from session.sign_ins import SignIns
from session.store import Store
from session.tokens import Issuer, Verifier
from session.watch import Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The parts of a process; handlers reach them through the application's settings."""

    config: Config
    metrics: Metrics
    api_key: str
    store: Store
    leases: Leases
    verifier: Verifier
    issuer: Issuer
    sign_ins: SignIns
    manager: SessionManager
    rooms: Rooms
    events: Events
    hub: Hub
    listener: Listener
    watch: Watch
    presence: Presence
    janitor: Janitor
    entrance: Entrance
    commands: Commands


def build(config: Config, *, redis_url: str, secret: str, api_key: str) -> Services:
    """Put the parts together; must be called on the event loop that they will run on.

    Raises:
        ConfigError: a key cannot be read.
    """
    metrics = Metrics()
    store = Store(redis_url, metrics)
    leases = Leases(store)
    canary = keys.canary(leases.instance)
    verifier, issuer = Verifier(config, secret), Issuer(config, secret)
    manager = SessionManager(store, config, leases)
    rooms = Rooms(store, config)
    hub = Hub(config, metrics)
    listener = Listener(store, rooms, hub, metrics, canary)
    watch = Watch(store, rooms, manager, hub, listener, canary)
    presence = Presence(rooms, hub, leases)
    janitor = Janitor(manager, hub, leases)
    entrance = Entrance(
        config=config, metrics=metrics, store=store, verifier=verifier, manager=manager, hub=hub,
        listener=listener, leases=leases, janitor=janitor,
    )  # fmt: skip
    watch.on_doubt = janitor.doubt
    janitor.reattach = entrance.reattach
    commands = Commands(
        config=config, metrics=metrics, store=store, manager=manager, rooms=rooms, hub=hub,
        listener=listener, entrance=entrance, presence=presence,
    )  # fmt: skip
    return Services(
        config=config, metrics=metrics, api_key=api_key, store=store, leases=leases, verifier=verifier,
        issuer=issuer, sign_ins=SignIns(store, verifier, issuer, config), manager=manager, rooms=rooms,
        events=Events(store, config), hub=hub, listener=listener, watch=watch, presence=presence,
        janitor=janitor, entrance=entrance, commands=commands,
    )  # fmt: skip
