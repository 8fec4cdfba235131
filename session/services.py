"""Everything one server process is made of, put together once, in the order of the arrows."""

import secrets
from dataclasses import dataclass

from session.commands import Commands
from session.config import Config
from session.events import Events
from session.hub import Hub
from session.leases import Leases
from session.listener import Listener
from session.manager import SessionManager
from session.metrics import Metrics
from session.rooms import Rooms
from session.sign_ins import SignIns
from session.store import Store
from session.tokens import Issuer, Verifier


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
    commands: Commands
