"""Plots as inline SVG: colours and type come from the page's style."""

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT = 560, 210
LEFT, RIGHT, TOP, BOTTOM = 48, 10, 20, 22
TICKS = 5
DECADES = 5
COLOURS = 8
"""As many as the style has; the next series begins with the first again."""

Points = Sequence[tuple[float, float]]


class Curve(NamedTuple):
    """A named series; points are (second, value), in the order of time."""

    name: str
    points: Points


class Axes(NamedTuple):
    """What all plots of a page have in common: the time, and what happened when."""

    seconds: float
    marks: Sequence[tuple[float, str]]


def lines(axes: Axes, curves: Sequence[Curve], *, is_log: bool = False, limit: float | None = None) -> str:
    """Curves over each other. ``limit`` is drawn across; ``is_log``: the scale is one of powers of ten."""
    values = [value for curve in curves for _, value in curve.points] + ([] if limit is None else [limit])
    scale = log_scale(values) if is_log else linear_scale(values)
    drawn = [
        f'<path class="line s{n % COLOURS + 1}" d="{path(axes, scale, c.points)}"/>'
        for n, c in enumerate(curves)
    ]
    if limit is not None:
        y = scale.y(limit)
        drawn.append(f'<line class="limit" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
    return svg(axes, scale, drawn) + legend([curve.name for curve in curves])


def stacked(axes: Axes, curves: Sequence[Curve]) -> str:
    """Areas on top of each other; all have points at the same times."""
    tops = totals(curves)
    scale = linear_scale([value for _, value in tops[-1]] if tops else [])
    drawn = []
    for n, (top, base) in enumerate(zip(tops, [[], *tops], strict=False)):
        floor = base or [(x, 0.0) for x, _ in top]
        outline = path(axes, scale, [*top, *reversed(floor)])
        drawn.append(f'<path class="area s{n % COLOURS + 1}" d="{outline}"/>' if top else "")
    return svg(axes, scale, drawn) + legend([curve.name for curve in curves])


def bars(axes: Axes, curves: Sequence[Curve]) -> str:
    """Bars of a second each, on top of each other; a second without a point has none."""
    heights: dict[float, float] = {}
    for curve in curves:
        for x, value in curve.points:
            heights[x] = heights.get(x, 0.0) + value
    scale = linear_scale(list(heights.values()))
    width = max(1.0, (WIDTH - LEFT - RIGHT) / max(axes.seconds, 1) - 1)
    bases: dict[float, float] = {}
    drawn = []
    for n, curve in enumerate(curves):
        for x, value in curve.points:
            base = bases.get(x, 0.0)
            bases[x] = base + value
            top, height = scale.y(base + value), scale.y(base) - scale.y(base + value)
            at = f'x="{at_x(axes, x):.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}"'
            drawn.append(f'<rect class="bar s{n % COLOURS + 1}" {at}/>')
    return svg(axes, scale, drawn) + legend([curve.name for curve in curves])


# --- scales ---


class Scale(NamedTuple):
    """Value -> height in the picture, and where ticks are."""

    y: Callable[[float], float]
    ticks: list[float]


def linear_scale(values: Sequence[float]) -> Scale:
    """From 0 to a round number above the largest."""
    step = round_step(max(values, default=0) / TICKS)
    count = max(1, math.ceil(max(values, default=0) / step))
    top = step * count
    return Scale(lambda v: placed(v / top), [step * n for n in range(count + 1)])


def log_scale(values: Sequence[float]) -> Scale:
    """Powers of ten from below the smallest to above the largest, `DECADES` at most."""
    some = [value for value in values if value > 0] or [1.0]
    high = math.ceil(math.log10(max(some)))
    low = min(high - 1, max(high - DECADES, math.floor(math.log10(min(some)))))

    def y(value: float) -> float:
        share = (math.log10(max(value, 10.0**low)) - low) / (high - low)
        return placed(share)

    return Scale(y, [10.0**n for n in range(low, high + 1)])


def placed(share: float) -> float:
    """The height in the picture of a share of the scale."""
    return HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)


def round_step(step: float) -> float:
    """1, 2 or 5 times a power of ten, and not less."""
    if step <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * n for n in (1, 2, 5, 10) if power * n >= step * 0.999)


# --- parts of a picture ---


def svg(axes: Axes, scale: Scale, drawn: Sequence[str]) -> str:
    """The picture: grid, what happened when, and what is drawn."""
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true">']
    for tick in scale.ticks:
        y = scale.y(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{figure(tick)}</text>')
    step = round_step(axes.seconds / 8)
    for n in range(int(axes.seconds / step) + 1):
        x = at_x(axes, n * step)
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 6}" text-anchor="middle">{figure(n * step)} s</text>')
    parts += drawn
    for n, (at, _) in enumerate(axes.marks, 1):
        x = at_x(axes, at)
        parts.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 4}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(f'<text class="mark" x="{x:.1f}" y="{TOP - 8}" text-anchor="middle">{n}</text>')
    return "\n".join([*parts, "</svg>"])


def legend(names: Sequence[str]) -> str:
    """Which colour is what; none where there is one series alone."""
    if len(names) < 2:
        return ""
    items = [f'<li><i class="s{n % COLOURS + 1}"></i>{escape(name)}</li>' for n, name in enumerate(names)]
    return f'<ul class="legend">{"".join(items)}</ul>'


def at_x(axes: Axes, second: float) -> float:
    """Where a moment is in the picture."""
    return LEFT + (WIDTH - LEFT - RIGHT) * second / max(axes.seconds, 1)


def path(axes: Axes, scale: Scale, points: Points) -> str:
    """The points, joined."""
    steps = [f"{at_x(axes, x):.1f} {scale.y(value):.1f}" for x, value in points]
    return f"M{' L'.join(steps)}" if steps else ""


def totals(curves: Sequence[Curve]) -> list[list[tuple[float, float]]]:
    """For each curve its points on top of those of the ones before it."""
    sums: list[list[tuple[float, float]]] = []
    for curve in curves:
        below = sums[-1] if sums else [(x, 0.0) for x, _ in curve.points]
        sums.append([(x, y + base) for (x, y), (_, base) in zip(curve.points, below, strict=True)])
    return sums


def figure(value: float) -> str:
    """A number as short as it can be."""
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:g}"
