"""Every metric. One registry a process, made at start and handed down; no ids as labels."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
WAIT_SECONDS = (1, 5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)


class Metrics:
    """The metrics of one server process."""

    def __init__(self) -> None:
        self.registry = r = CollectorRegistry()
        ProcessCollector(registry=r)
        GCCollector(registry=r)
        self.tasks = Gauge("keepseat_tasks", "Tasks of the event loop", registry=r)
        self.loop_lag = Gauge("keepseat_loop_lag_seconds", "How late the last tick was", registry=r)
        self.loop_stalls = Counter(
            "keepseat_loop_stall_seconds",
            "Time in which the event loop stood still for a quarter of a second or more",
            registry=r,
        )
        self._make_connections(r)
        self._make_restores(r)
        self._make_rooms(r)
        self._make_sale(r)
        self._make_store(r)

    def _make_connections(self, r: CollectorRegistry) -> None:
        """Who is here, who knocks, and what they ask."""
        self.connections = Gauge("keepseat_connections", "Authenticated connections now", registry=r)
        self.sockets = Gauge("keepseat_sockets", "Open WebSockets, signed in or not", registry=r)
        self.lines = Gauge("keepseat_lines", "Open HTTP connections that are no WebSockets", registry=r)
        self.buffered = Gauge(
            "keepseat_buffered_bytes", "Bytes that wait for clients who read slowly", registry=r
        )
        self.opened = Counter(
            "keepseat_connections_opened", "Connections that were authenticated", registry=r
        )
        self.closed = Counter(
            "keepseat_connections_closed", "Connections closed, by close code", ["code"], registry=r
        )
        self.not_accepted = Counter(
            "keepseat_connections_not_accepted",
            "Connections closed, or left to wait, before a byte was read: no file descriptor",
            registry=r,
        )
        self.waiting = Gauge(
            "keepseat_waiting_for_turn",
            "Connections that wait to be upgraded, or for their turn to sign in",
            registry=r,
        )
        self.ping_seconds = Histogram(
            "keepseat_ping_seconds", "Round trip of a ping to a client", buckets=SECONDS, registry=r
        )
        self.previous_keys = Counter(
            "keepseat_previous_key_uses",
            "Tokens and API calls that came with a previous key, by kind (jwt, api)",
            ["kind"],
            registry=r,
        )
        self.refused = Counter("keepseat_refusals", "Connections refused, by reason", ["reason"], registry=r)
        self.drain_left = Gauge(
            "keepseat_drain_left", "Sockets still to go, while the server drains", registry=r
        )
        self.commands = Counter(
            "keepseat_commands", "Commands by type and result", ["type", "result"], registry=r
        )

    def _make_restores(self, r: CollectorRegistry) -> None:
        """Who comes back, and with what."""
        self.reconnects = Counter(
            "keepseat_reconnects",
            "Connections that came back, with a position or to a stored session, by server",
            ["server"],
            registry=r,
        )
        self.reconnect_failures = Counter(
            "keepseat_reconnect_failures",
            "Connections that wanted to come back, with a position, and were not let in, by reason",
            ["reason"],
            registry=r,
        )
        self.restores = Counter(
            "keepseat_restores",
            "Rooms brought back, by result (recovered, reset, refused)",
            ["result"],
            registry=r,
        )
        self.restore_seconds = Histogram(
            "keepseat_restore_seconds", "Token to session-restored", buckets=SECONDS, registry=r
        )
        self.recovered = Counter(
            "keepseat_recovered_messages", "Messages missed that followed a restore", registry=r
        )

    def _make_rooms(self, r: CollectorRegistry) -> None:
        """What is sent to readers, and repaired."""
        self.deliveries = Counter("keepseat_deliveries", "Frames of rooms handed to connections", registry=r)
        self.replayed = Counter(
            "keepseat_replayed", "Frames of rooms read again for one connection", registry=r
        )
        self.repairs = Counter(
            "keepseat_repairs", "Gaps repaired from the stream, by cause", ["cause"], registry=r
        )
        self.repair_seconds = Histogram(
            "keepseat_repair_seconds", "From a gap to its repair", buckets=SECONDS, registry=r
        )
        self.resets = Counter("keepseat_room_resets", "Rooms whose readers were told room-reset", registry=r)
        self.slow_readers = Counter("keepseat_slow_readers", "Connections closed as too slow", registry=r)

    def _make_sale(self, r: CollectorRegistry) -> None:
        """Figures of the store, over all events in use: each server has the same."""
        self.queue_waiting = Gauge(
            "keepseat_queue_waiting", "Users in line, over all events in use", registry=r
        )
        self.queue_admitted = Gauge(
            "keepseat_queue_admitted", "Users who are in, over all events in use", registry=r
        )
        self.seats_held = Gauge("keepseat_seats_held", "Seats held, over all events in use", registry=r)
        self.seats_sold = Gauge("keepseat_seats_sold", "Seats sold, over all events in use", registry=r)
        self.admissions = Counter("keepseat_queue_admissions", "Users let in", registry=r)
        self.no_shows = Counter(
            "keepseat_queue_no_shows",
            "Places and admissions that ended while their user was away",
            registry=r,
        )
        self.expired_holds = Counter("keepseat_holds_expired", "Holds that have expired", registry=r)
        # those that follow are each server's own
        self.queue_wait_seconds = Histogram(
            "keepseat_queue_wait_seconds",
            "From joining a line to being let in, of users here who had to wait",
            buckets=WAIT_SECONDS,
            registry=r,
        )
        self.bookings = Counter("keepseat_bookings", "Bookings, by result", ["result"], registry=r)

    def _make_store(self, r: CollectorRegistry) -> None:
        """How the store and its pub/sub answer."""
        self.store_errors = Counter(
            "keepseat_store_errors", "Calls to the store given up, by outcome", ["outcome"], registry=r
        )
        self.store_seconds = Histogram(
            "keepseat_store_seconds", "Round trip of a script", ["script"], buckets=SECONDS, registry=r
        )
        self.notes_lost = Counter(
            "keepseat_history_lost",
            "Events of users that their histories lack: the store was away",
            registry=r,
        )
        self.pubsub_reconnects = Counter("keepseat_pubsub_reconnects", "Subscriptions made anew", registry=r)
        self.canary_seconds = Gauge("keepseat_canary_seconds", "Age of the last canary heard", registry=r)


def counted(counter: Counter, **labels: str) -> int:
    """A counter as it stands, over all labels that are not named; 0 where it was not used yet. Whoever asks
    the registry by name makes it collect everything, down to a list of all open files."""
    samples = [sample for metric in counter.collect() for sample in metric.samples]
    totals = [sample for sample in samples if sample.name.endswith("_total")]
    return int(sum(total.value for total in totals if labels.items() <= total.labels.items()))
