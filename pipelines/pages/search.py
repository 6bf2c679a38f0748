"""The picture of a search: what each trial came to, and what it had to do with what."""

import io
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullLocator,
)

INK, QUIET, OURS, BEST = "#1b1f24", "#80868f", "#4477aa", "#e0663c"
COLUMNS = 3


class Tried(NamedTuple):
    """One trial.

    Attributes:
        number: Its number, from 1.
        value: Its figure; ``None`` for one that was given up.
        choice: What it tried, by name.
    """

    number: int
    value: float | None
    choice: dict[str, Any]


def draw(title: str, unit: str, trials: Sequence[Tried]) -> bytes:
    """Return the picture as a PNG; the first trial is that of the dataset's own."""
    names = list(trials[0].choice)
    rows = -(-len(names) // COLUMNS)
    with mpl.rc_context({"font.size": 10, "font.family": "DejaVu Sans"}):
        figure = Figure(
            figsize=(11, 4.0 + 2.6 * rows), dpi=130, facecolor="white",
            layout="constrained",
        )  # fmt: skip
        grid = figure.add_gridspec(
            1 + rows, COLUMNS, height_ratios=[1.35, *(1.0 for _ in range(rows))]
        )
        figure.suptitle(title, x=0.01, ha="left", fontsize=14, weight="bold", color=INK)
        _story(figure.add_subplot(grid[0, :]), unit, trials)
        for place, name in enumerate(names):
            axes = figure.add_subplot(grid[1 + place // COLUMNS, place % COLUMNS])
            _slice(axes, name, trials)
            if place % COLUMNS == 0:
                axes.set_ylabel(unit, color=QUIET)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _story(axes: Axes, unit: str, trials: Sequence[Tried]) -> None:
    """Draw each trial in its turn, and the best so far."""
    done = [trial for trial in trials if trial.value is not None]
    axes.plot(
        [trial.number for trial in done], [_value(trial) for trial in done],
        "o", color=OURS, markersize=6, label="a trial",
    )  # fmt: skip
    best, so_far = -math.inf, []
    for trial in trials:
        best = max(best, _value(trial)) if trial.value is not None else best
        so_far.append(best)
    axes.step(
        [trial.number for trial in trials], so_far,
        where="post", color=BEST, linewidth=2, label="the best so far",
    )  # fmt: skip
    own = trials[0].value
    if own is not None:
        axes.axhline(
            own, color=QUIET, linestyle="--", linewidth=1.2, label="the dataset's own"
        )
    given_up = [trial.number for trial in trials if trial.value is None]
    if given_up:
        low = min(_value(trial) for trial in done)
        axes.plot(given_up, [low] * len(given_up), "x", color=QUIET, label="given up")
    axes.set_xlabel("trial", color=QUIET)
    axes.set_ylabel(unit, color=QUIET)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False, ncols=4, loc="lower right", bbox_to_anchor=(1.0, 1.0))
    _quieten(axes)


def _slice(axes: Axes, name: str, trials: Sequence[Tried]) -> None:
    """Draw the figure over one setting; the best trial stands out."""
    done = [trial for trial in trials if trial.value is not None]
    best = max(done, key=_value)
    found = [trial.choice[name] for trial in done]
    if name.endswith("learning_rate"):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        places = found
    elif len(set(found)) <= 6 or not all(isinstance(one, int | float) for one in found):
        words = any(isinstance(one, str) for one in found)
        ticks = sorted(set(found), key=_by_length if words else None)
        places = [ticks.index(one) for one in found]
        axes.set_xticks(range(len(ticks)), [str(one) for one in ticks])
        axes.set_xlim(-0.5, len(ticks) - 0.5)
    else:
        places = found
        whole = all(isinstance(one, int) for one in found)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=whole))
    values = [_value(trial) for trial in done]
    axes.plot(places, values, "o", color=OURS, markersize=5, alpha=0.75)
    at = done.index(best)
    axes.plot(places[at], values[at], "o", color=BEST, markersize=9)
    axes.set_title(name, loc="left", color=INK, fontsize=10)
    _quieten(axes)


def _by_length(value: Any) -> tuple[int, str]:
    """Return what sorts lists of widths, which are kept as text, by their size."""
    return len(str(value)), str(value)


def _value(trial: Tried) -> float:
    assert trial.value is not None
    return trial.value


def _quieten(axes: Axes) -> None:
    axes.tick_params(colors=QUIET)
    axes.grid(color=QUIET, alpha=0.2)
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(QUIET)
