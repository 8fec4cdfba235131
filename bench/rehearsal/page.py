"""The report: one file that stands alone, for a screen in the light or the dark, and for paper."""

import datetime
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from bench.rehearsal.course import Plan
from bench.rehearsal.plots import Axes, Curve, bars, lines, stacked
from bench.rehearsal.promises import Finding
from bench.rehearsal.record import Record, Series
from bench.rehearsal.verdict import Time, Verdict
from bench.report import machine

STYLE = Path(__file__).with_name("page.css")
MS = 1000
SHOWN_CODES = 7
"""The most frequent ones have a colour each, all others one together."""


def page(plan: Plan, record: Record, found: Verdict, *, url: str) -> str:
    """The report as HTML. ``url`` is somebody's own deployment; empty where the rehearsal made one."""
    title = "Rehearsal: every promise was kept" if found.is_good else "Rehearsal: a promise was broken"
    body = [
        f"<h1>{title}</h1>",
        f'<p class="soft">{escape(subtitle(plan, url))}</p>',
        banner(found),
        f'<p class="note">{escape(found.bottleneck)}</p>' if found.bottleneck else "",
        tiles(plan, record, found),
        "<h2>Promises</h2>",
        table(("promise", "checks", "breaches", ""), map(promise_row, found.findings)),
        "<h2>Times</h2>",
        table(
            ("", "how many", "median", "95 %", "99 %", "longest", "target for 99 %", ""),
            map(time_row, found.times),
        ),
        "<h2>What happened when</h2>",
        time_line(record),
        f'<div class="plots">{"".join(figures(plan, record))}</div>',
        "<h2>Codes</h2>",
        table(("lines that ended, and tries that failed", "how often"), count_rows(found.ends)),
        table(("errors that were answered", "how often"), count_rows(found.errors)),
        "<h2>Machine and settings</h2>",
        table(("", ""), settings(plan, record, url)),
    ]
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{title}</title>\n<style>\n{STYLE.read_text()}</style>",
            *(part for part in body if part),
            "</html>\n",
        ]
    )


def subtitle(plan: Plan, url: str) -> str:
    """What it is of, and when."""
    when = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    where = url or "three servers behind a balancer, made for it"
    return f"{len(plan.tokens):,} users for {plan.seconds:g} s on {where}; {when}"


def banner(found: Verdict) -> str:
    """The verdict in a sentence."""
    broken = [finding for finding in found.findings if finding.breaches]
    checks = sum(finding.checks for finding in found.findings)
    if broken:
        count = f"{len(broken)} of {len(found.findings)} promises were broken"
        return f'<div class="verdict broken"><strong>{count}.</strong> {checks:,} checks were made.</div>'
    unchecked = sum(not finding.checks for finding in found.findings)
    rest = f" {unchecked} could not be checked." if unchecked else ""
    slow = sum(time.state == "slow" for time in found.times)
    rest += f" {slow} of the times are slower than their targets." if slow else ""
    said = f"<strong>Nothing was lost.</strong> {checks:,} checks were made.{rest}"
    return f'<div class="verdict kept">{said}</div>'


def tiles(plan: Plan, record: Record, found: Verdict) -> str:
    """The figures that one remembers."""
    answers, *_, restores, silences = found.times
    most = max((sum(sample.connections.values()) for sample in record.samples), default=0)
    values = [
        ("users at once", f"{most:,}"),
        ("commands", f"{sum(record.commands.values()):,}"),
        ("answered, median", seconds(answers.p50)),
        ("messages delivered", f"{len(record.deliveries):,}"),
        ("came back", f"{restores.number:,} times"),
        ("restored, median", seconds(restores.p50)),
        ("longest silence", seconds(silences.longest)),
    ]
    return f"<dl>{''.join(f'<div><dt>{name}</dt><dd>{value}</dd></div>' for name, value in values)}</dl>"


def time_line(record: Record) -> str:
    """The marks of the plots."""
    items = [f"<li><b>{n}</b>{at:.0f} s: {escape(what)}</li>" for n, (at, what) in enumerate(record.marks, 1)]
    return f'<ul class="time">{"".join(items)}</ul>'


# --- tables ---


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows of cells that are HTML already; none at all where there are no rows."""
    body = ["".join(cell if cell.startswith("<td") else f"<td>{cell}</td>" for cell in row) for row in rows]
    if not body:
        return ""
    cells = "".join(f'<th class="{"number" if n else ""}">{name}</th>' for n, name in enumerate(head))
    names = f"<tr>{cells}</tr>" if any(head) else ""
    return f'<div class="wide"><table>{names}{"".join(f"<tr>{line}</tr>" for line in body)}</table></div>'


def number(text: str) -> str:
    """A cell with a figure."""
    return f'<td class="number">{text}</td>'


def state(word: str) -> str:
    """A cell with a verdict."""
    signs = {
        "kept": "✓ kept",
        "broken": "✗ broken",
        "good": "✓ good",
        "slow": "slow",
        "unchecked": "not checked",
    }
    return f'<td class="state {word}">{signs[word]}</td>'


def promise_row(finding: Finding) -> tuple[str, ...]:
    """A promise, and what was found of it."""
    examples = "".join(f"<small>{escape(example)}</small>" for example in finding.examples)
    counts = (number(f"{finding.checks:,}"), number(f"{finding.breaches:,}"))
    return (escape(finding.promise.value) + examples, *counts, state(finding.state))


def time_row(time: Time) -> tuple[str, ...]:
    """A measured time, beside its target."""
    values = (time.p50, time.p95, time.p99, time.longest, time.target)
    return (
        escape(time.what),
        number(f"{time.number:,}"),
        *(number(seconds(v)) for v in values),
        state(time.state),
    )


def count_rows(counts: Counter[str]) -> list[tuple[str, str]]:
    """Most frequent first."""
    return [(escape(name), number(f"{count:,}")) for name, count in counts.most_common()]


def settings(plan: Plan, record: Record, url: str) -> list[tuple[str, str]]:
    """What the figures are of."""
    house, lags = plan.house, record.lags
    late, latest = seconds(lags.percentile(99)), seconds(lags.percentile(100))
    facts: dict[str, Any] = {
        "deployment": url or "a Valkey, three servers, HAProxy with deploy/haproxy.cfg, on this machine",
        "deploy in the middle": "none: that is yours to do" if url else "each server replaced in turn",
        "house": f"{len(house.seats):,} seats, {house.capacity:,} in at a time, {house.rate:,} a second",
        "the generator": f"{record.cpu_seconds:.0f} s of CPU; late by {late} (99 %), {latest} at most",
        **machine(),
    }
    return [(escape(name), escape(str(value))) for name, value in facts.items()]


def seconds(value: float) -> str:
    """A time as one reads it."""
    return f"{value * MS:.0f} ms" if value < 1 else f"{value:.1f} s"


# --- plots ---


def figures(plan: Plan, record: Record) -> list[str]:
    """All plots."""
    axes = Axes(record.now, record.marks)
    house = plan.house
    came, answered = (
        Curve("", [(s, len(v)) for s, v in sorted(series.by_second.items())])
        for series in (record.restores, record.answers)
    )
    return [
        figure("Users by server", "", stacked(axes, connections(record))),
        figure("Answers to commands", "ms", lines(axes, percentiles(record.answers), is_log=True)),
        figure("Commands", "a second", bars(axes, [answered])),
        figure("Who came back", "a second", bars(axes, [came])),
        figure("How long the line was lost", "s", lines(axes, spread(record.silences), is_log=True)),
        figure(
            "Messages from the back end to a user",
            "ms",
            lines(axes, percentiles(record.deliveries), is_log=True),
        ),
        figure("Ends of lines, and failed tries, by code", "a second", bars(axes, codes(record.cuts))),
        figure("Errors that were answered, by code", "a second", bars(axes, codes(record.errors))),
        figure("Waiting", "users", lines(axes, [sale(record, "waiting")])),
        figure(
            "Let in",
            f"users, of {house.capacity:,}",
            lines(axes, [sale(record, "admitted")], limit=house.capacity),
        ),
        figure(
            "Seats",
            f"of {len(house.seats):,}",
            stacked(axes, [sale(record, "sold"), sale(record, "held")]),
        ),
        figure("How late the generator was", "ms", lines(axes, percentiles(record.lags)[1:], is_log=True)),
    ]


def figure(title: str, unit: str, picture: str) -> str:
    """A plot with its title."""
    return f"<figure><figcaption>{title}<small>{unit}</small></figcaption>{picture}</figure>"


def connections(record: Record) -> list[Curve]:
    """Each server's users, in the order in which servers came to be known."""
    servers = dict.fromkeys(server for sample in record.samples for server in sample.connections)
    return [
        Curve(s, [(sample.at, sample.connections.get(s, 0)) for sample in record.samples]) for s in servers
    ]


def percentiles(series: Series) -> list[Curve]:
    """Median, 95 % and 99 % of each second, in ms."""
    names = {50: "median", 95: "95 %", 99: "99 %"}
    return [Curve(name, [(s, v * MS) for s, v in series.line(share)]) for share, name in names.items()]


def spread(series: Series) -> list[Curve]:
    """Median and longest of each second."""
    return [Curve("median", series.line(50)), Curve("longest", series.line(100))]


def codes(by_second: dict[int, Counter[str]]) -> list[Curve]:
    """A curve for each of the most frequent codes, and one for the others."""
    frequent = [name for name, _ in sum(by_second.values(), Counter[str]()).most_common()]
    named, others = frequent[:SHOWN_CODES], frequent[SHOWN_CODES:]
    groups = {name: [name] for name in named} | ({"others": others} if others else {})
    return [
        Curve(name, [(s, sum(c[code] for code in group)) for s, c in sorted(by_second.items())])
        for name, group in groups.items()
    ]


def sale(record: Record, name: str) -> Curve:
    """A figure of the stats, as often as they could be had."""
    return Curve(name, [(s.at, s.sale[name]) for s in record.samples if s.sale is not None])
