"""What a rehearsal comes to: promises, which are kept or broken, and times, which are good or slow."""

from collections import Counter
from typing import NamedTuple

from bench.rehearsal.promises import Finding, Findings
from bench.rehearsal.record import Record, Series, total

LAG_SECONDS = 0.1
CPU_SHARE = 0.9
"""Beyond these the generator measures itself."""


class Time(NamedTuple):
    """A measured time, and what it should not exceed at the 99th percentile; all in seconds."""

    what: str
    number: int
    p50: float
    p95: float
    p99: float
    longest: float
    target: float

    @property
    def state(self) -> str:
        """``good``, ``slow`` or ``unchecked``."""
        if not self.number:
            return "unchecked"
        return "good" if self.p99 <= self.target else "slow"


class Verdict(NamedTuple):
    """The whole."""

    findings: list[Finding]
    times: list[Time]
    ends: Counter[str]
    """Ends of lines and attempts to get one, by close code."""
    errors: Counter[str]
    """Commands and calls that were answered with an error, by code."""
    bottleneck: str
    """Why the generator, or its machine, was the bottleneck; empty where neither was."""

    @property
    def is_good(self) -> bool:
        """No promise was broken. A slow time is no broken promise."""
        return not any(finding.breaches for finding in self.findings)

    def lines(self) -> list[str]:
        """For a terminal."""
        said = []
        for f in self.findings:
            said.append(f"{f.state:>9} | {f.promise.value} ({f.checks:,} checks, {f.breaches:,} breaches)")
            said += [f"{'':>9} |   {example}" for example in f.examples]
        for t in self.times:
            parts = f"{t.p50:.3f} s, 95 % {t.p95:.3f} s, 99 % {t.p99:.3f} s, longest {t.longest:.3f} s"
            said.append(f"{t.state:>9} | {t.what}: {parts}")
        return [
            *said,
            f"lines ended: {dict(self.ends)}",
            f"errors: {dict(self.errors)}",
            self.bottleneck or "the generator was not the bottleneck",
            "every promise was kept" if self.is_good else "A PROMISE WAS BROKEN",
        ]


def verdict(findings: Findings, record: Record) -> Verdict:
    """What was found."""
    times = [
        time("an answer to a command", record.answers, 0.5),
        time("a message, from the back end's call to a user", record.deliveries, 1),
        time("a restore, from the connection to session-restored", record.restores, 2),
        time("a silence, from the loss of the line to session-restored", record.silences, 10),
    ]
    return Verdict(findings.all(), times, total(record.cuts), total(record.errors), bottleneck(record))


def time(what: str, series: Series, target: float) -> Time:
    """Percentiles of a series."""
    p50, p95, p99, longest = (series.percentile(share) for share in (50, 95, 99, 100))
    return Time(what, len(series), p50, p95, p99, longest, target)


def bottleneck(record: Record) -> str:
    """Why what was measured is rather the generator's slowness; empty where it is not."""
    lag, share = record.lags.percentile(99), record.cpu_seconds / max(record.now, 1)
    if lag <= LAG_SECONDS and share <= CPU_SHARE:
        return ""
    who = "load generator" if share > CPU_SHARE else "machine of the load generator"
    return (
        f"The {who} was the bottleneck: its loop was {lag:.2f} s late at the 99th percentile, while it used "
        f"{share:.0%} of a core. The times are upper bounds; use another machine for it, or fewer clients."
    )
