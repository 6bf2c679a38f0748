"""The sheet of a generation: new images beside real ones, and how far apart."""

import io
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipelines.pages.pictures import fitted, sheet

COLUMNS = 8
TILES = COLUMNS * COLUMNS
"""Images of each kind that are shown, at most."""
SIDE = 96
"""Longest side of a tile, in pixels; smaller images are enlarged by whole factors."""
GAP = 2
NEAR = 0.26
"""Marks that are nearer than this part of the scale have their names on two sides."""
INK, QUIET, OURS = "#1b1f24", "#80868f", "#e0663c"
MARKS = (
    ("training", "training images", QUIET),
    ("reconstructions", "reconstructions", "#4477aa"),
    ("generated", "generated", OURS),
    ("noise", "decoded noise", QUIET),
)


def draw(real: np.ndarray, new: np.ndarray, figures: Mapping[str, Any]) -> bytes:
    """Return the sheet as a PNG.

    Args:
        real: Held-out images, uint8, (n, h, w, c).
        new: Generated images, likewise.
        figures: What ``generated.json`` holds.
    """
    with mpl.rc_context({"font.size": 10, "font.family": "DejaVu Sans"}):
        figure = Figure(figsize=(10.2, 7.2), dpi=150, facecolor="white")
        grid = figure.add_gridspec(
            2, 2, height_ratios=[6.0, 0.75], hspace=0.22, wspace=0.05,
            left=0.03, right=0.97, top=0.88, bottom=0.11,
        )  # fmt: skip
        figure.text(
            0.03, 0.95, f"{figures['dataset']}: images that never were",
            fontsize=15, weight="bold", color=INK,
        )  # fmt: skip
        figure.text(0.97, 0.955, _source(figures), ha="right", color=QUIET)
        _tiles(figure.add_subplot(grid[0, 0]), new, f"generated ({len(new)})", OURS)
        words = f"real, held out ({len(real)})"
        _tiles(figure.add_subplot(grid[0, 1]), real, words, INK)
        _scale(figure.add_subplot(grid[1, :]), figures["frechet"])
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _source(figures: Mapping[str, Any]) -> str:
    found = figures["density"]
    words = {
        "mixture": f"mixture of {found['components']} Gaussians",
        "gaussian": "one Gaussian",
        "prior": "the prior N(0, 1)",
    }
    return (
        f"space {figures['space_id']}, {words[found['density']]}, "
        f"seed {figures['seed']}"
    )


def _tiles(axes: Axes, images: np.ndarray, title: str, colour: str) -> None:
    large = np.stack([_enlarged(fitted(image, SIDE)) for image in images])
    paper = np.pad(large, ((0, 0), (0, GAP), (0, GAP), (0, 0)), constant_values=255)
    whole = np.full((TILES, *paper.shape[1:]), 255, np.uint8)
    whole[: len(paper)] = paper[:TILES]
    picture = sheet(whole, COLUMNS)
    axes.imshow(
        picture[:, :, 0] if picture.shape[2] == 1 else picture,
        cmap="gray", vmin=0, vmax=255, interpolation="antialiased",
    )  # fmt: skip
    axes.set_title(title, loc="left", color=colour, weight="bold", fontsize=11)
    axes.set_anchor("W" if colour == OURS else "E")
    axes.set_axis_off()


def _enlarged(image: np.ndarray) -> np.ndarray:
    times = max(1, SIDE // max(image.shape[:2]))
    return image.repeat(times, axis=0).repeat(times, axis=1)


def _scale(axes: Axes, apart: Mapping[str, float]) -> None:
    """Draw the distances on a line, each with its name."""
    reach = 1.08 * max(apart.values())
    axes.set_xlim(0.0, reach)
    axes.set_ylim(-1.0, 1.0)
    axes.axhline(0.0, color=QUIET, linewidth=1.0)
    taken: list[tuple[float, int]] = []
    for name, words, colour in sorted(MARKS, key=lambda mark: apart[mark[0]]):
        at = apart[name] / reach
        crowded = bool(taken) and at - taken[-1][0] < NEAR
        side = -taken[-1][1] if crowded else 1
        taken.append((at, side))
        axes.plot(apart[name], 0.0, "o", color=colour, markersize=8, zorder=3)
        axes.annotate(
            f"{words} {apart[name]:.3f}", (apart[name], 0.0), (0, 10 * side),
            textcoords="offset points", color=colour,
            ha="left" if at < 0.1 else "right" if at > 0.9 else "center",
            va="bottom" if side > 0 else "top",
            weight="bold" if name == "generated" else "normal",
        )  # fmt: skip
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_yticks([])
    axes.tick_params(axis="x", colors=QUIET)
    axes.set_xlabel("Fréchet distance to held-out images", color=QUIET)
