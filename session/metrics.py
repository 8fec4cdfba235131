"""Every metric. One registry a process, made at start and handed down; no ids as labels."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The metrics of one server process."""

    def __init__(self) -> None:
        self.registry = r = CollectorRegistry()
        ProcessCollector(registry=r)
        GCCollector(registry=r)
        self.connections = Gauge("keepseat_connections", "Authenticated connections now", registry=r)
        self.sockets = Gauge("keepseat_sockets", "Open WebSockets, signed in or not", registry=r)
        self.lines = Gauge("keepseat_lines", "Open HTTP connections that are no WebSockets", registry=r)
        self.buffered = Gauge(
            "keepseat_buffered_bytes", "Bytes that wait for clients who read slowly", registry=r
        )
        self.tasks = Gauge("keepseat_tasks", "Tasks of the event loop", registry=r)
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
        self.reconnects = Counter(
            "keepseat_reconnects",
            "Connections that came back: with a position, or to a stored session",
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
        self.commands = Counter(
            "keepseat_commands", "Commands by type and result", ["type", "result"], registry=r
        )
        self.deliveries = Counter("keepseat_deliveries", "Frames of rooms handed to connections", registry=r)
        self.replayed = Counter(
            "keepseat_replayed", "Frames of rooms read again for one connection", registry=r
        )
        self.repairs = Counter(
            "keepseat_repairs", "Gaps repaired from the stream, by cause", ["cause"], registry=r
        )
        self.resets = Counter("keepseat_room_resets", "Rooms whose readers were told room-reset", registry=r)
        self.slow_readers = Counter("keepseat_slow_readers", "Connections closed as too slow", registry=r)
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
        self.loop_lag = Gauge("keepseat_loop_lag_seconds", "How late the last tick was", registry=r)
        self.loop_stalls = Counter(
            "keepseat_loop_stall_seconds",
            "Time in which the event loop stood still for a quarter of a second or more",
            registry=r,
        )


def counted(counter: Counter, **labels: str) -> int:
    """A counter as it stands, 0 where it was not used yet. Whoever asks the registry by name makes it collect
    everything, down to a list of all open files."""
    samples = [sample for metric in counter.collect() for sample in metric.samples]
    return int(sum(s.value for s in samples if s.labels == labels and s.name.endswith("_total")))
