"""Draw plots as SVG: run by the Python of `.venv/peers`, which has matplotlib; `bench.document` says what.

Each plot is ``{"file": ..., "panels": [...]}``. A panel has a ``title`` and either ``bars``, which are
``[label, middle, least, most]``, or ``lines``, which are label -> ``[[x, y], ...]``. The same figures give
the same bytes.
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot

OURS, THEIRS = "#2563eb", "#94a3b8"
STYLES = ("o-", "s--", "^:")
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "keepseat",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
BAR_INCHES, MARGIN_INCHES, WIDTH_INCHES, LINES_INCHES = 0.32, 0.7, 9.0, 3.2


def is_ours(label: str) -> bool:
    return label.startswith("Keepseat")


def draw_bars(axes: Any, bars: list[list[Any]]) -> None:
    """Names to the left, each bar's figure at its end."""
    labels, middles, least, most = zip(*bars, strict=True)
    colours = [OURS if is_ours(label) else THEIRS for label in labels]
    beyond = [[m - low for m, low in zip(middles, least, strict=True)],
              [high - m for m, high in zip(middles, most, strict=True)]]  # fmt: skip
    axes.barh(labels, middles, xerr=beyond, color=colours, ecolor="#334155", capsize=2)
    for at, (middle, high) in enumerate(zip(middles, most, strict=True)):
        told = f"{middle:,.0f}" if middle >= 100 else f"{middle:.3g}"
        beside = {"xytext": (4, 0), "textcoords": "offset points", "va": "center"}
        axes.annotate(told if middle else "not measured", (high, at), **beside)
    axes.set_ylim(len(labels) - 0.4, -0.6)  # the first one is on top
    axes.set_xlim(0, max(most) * 1.25)
    axes.xaxis.set_major_formatter(mpl.ticker.StrMethodFormatter("{x:,.0f}"))
    axes.locator_params(axis="x", nbins=4)


def draw_lines(axes: Any, lines: dict[str, list[list[float]]]) -> None:
    """Sizes on a logarithmic axis."""
    for (label, points), style in zip(lines.items(), STYLES, strict=False):
        xs, ys = zip(*points, strict=True)
        axes.plot(xs, ys, style, label=label, color=OURS if is_ours(label) else THEIRS)
    axes.set_xscale("log")
    ticks = sorted({x for points in lines.values() for x, _ in points})
    axes.set_xticks(ticks, [f"{x:,.0f}" for x in ticks])
    axes.minorticks_off()
    axes.set_ylim(0, max(y for points in lines.values() for _, y in points) * 1.1)
    axes.yaxis.set_major_formatter(mpl.ticker.StrMethodFormatter("{x:,.0f}"))
    axes.legend(frameon=False, loc="lower left")


def draw(plot: dict[str, Any], folder: Path) -> None:
    """One file."""
    panels = plot["panels"]
    rows = max(len(panel.get("bars", ())) for panel in panels)
    height = rows * BAR_INCHES + MARGIN_INCHES if rows else LINES_INCHES
    figure, all_axes = pyplot.subplots(
        1, len(panels), figsize=(WIDTH_INCHES, height), sharey=bool(rows), squeeze=False, layout="constrained"
    )
    for axes, panel in zip(all_axes[0], panels, strict=True):
        axes.set_title(panel["title"], fontsize=9, loc="left")
        if "bars" in panel:
            draw_bars(axes, panel["bars"])
        else:
            draw_lines(axes, panel["lines"])
    figure.savefig(folder / plot["file"], format="svg", facecolor="white", metadata={"Date": None})
    pyplot.close(figure)


def main() -> None:
    """Draw what stdin says into the folder that is named."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    mpl.rcParams.update(STYLE)
    for plot in json.load(sys.stdin):
        draw(plot, folder)


if __name__ == "__main__":
    main()
