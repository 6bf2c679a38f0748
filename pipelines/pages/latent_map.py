"""The latents on a plane: neighbours there are neighbours in the latent space."""

from collections.abc import Sequence

import numpy as np
from bokeh.models import ColumnDataSource, HoverTool
from bokeh.palettes import Viridis256
from bokeh.plotting import figure

from pipelines.pages import curves, pictures

COLOURS = (
    "#4477aa", "#ee6677", "#2e9e4f", "#c9a227", "#4bb4dd", "#aa4499", "#ee8833",
    "#22aa99", "#8877dd", "#a5714a", "#dd66aa", "#8aa637",
)  # fmt: skip
OTHER = "#8f8f8f"
MANY = 12
"""More labels than this share a grey."""
FEWEST = 30
"""Fewer latents give no map."""
TILE = 32
BANNER = (40, 12)
"""Columns and rows of the largest banner."""

TOOLTIP = """
<div style="display:flex;gap:.6em;align-items:center;font:13px system-ui">
<img src="@thumbnail" alt="" style="width:72px;image-rendering:pixelated;
background:#000"><div><b>@label</b><br>error @error{0.0000}<br>
<span style="color:#777">@name</span></div></div>
"""


def place(latents: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return a place on a plane for each latent, ``(m, 2)``, by t-SNE.

    Latents are near by cosine, as for the neighbours that the gate judges by.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    finite = np.nan_to_num(latents)
    lengths = np.linalg.norm(finite, axis=1, keepdims=True)
    perplexity = min(30.0, (len(latents) - 1) / 3)
    method = TSNE(
        init="pca", perplexity=perplexity, max_iter=400, angle=0.6, random_state=seed
    )
    with threadpool_limits(1):  # its threads wait for one another more than they work
        return np.asarray(method.fit_transform(finite / np.maximum(lengths, 1e-12)))


def colours_of(labels: Sequence[str]) -> dict[str, str]:
    """Return a colour for each label but the empty one; the rarest share a grey."""
    names, counts = np.unique([label for label in labels if label], return_counts=True)
    frequent = sorted(names[np.argsort(-counts, kind="stable")][:MANY].tolist())
    chosen = dict(zip(frequent, COLOURS, strict=False))
    return {str(name): chosen.get(str(name), OTHER) for name in names}


def plot(
    places: np.ndarray,
    labels: Sequence[str],
    errors: np.ndarray,
    names: Sequence[str],
    thumbnails: np.ndarray,
) -> figure:
    """Return the map, a picture of each image where the pointer is.

    Points are coloured by label; without labels, by reconstruction error.
    """
    chart = figure(
        height=620, sizing_mode="stretch_width", active_scroll=None,
        tools="pan,wheel_zoom,box_zoom,reset", toolbar_location="above",
    )  # fmt: skip
    shown = [_short(label) for label in labels]
    columns = {
        "x": places[:, 0],
        "y": places[:, 1],
        "label": np.array([each or "no label" for each in shown], object),
        "error": errors,
        "name": np.array([_short(name) for name in names], object),
        "thumbnail": np.array([pictures.small_uri(each) for each in thumbnails]),
    }
    known = colours_of(shown)
    if known:
        _by_label(chart, columns, known)
    else:
        _by_error(chart, columns)
    chart.add_tools(HoverTool(tooltips=TOOLTIP))
    chart.axis.visible = False
    curves.quieten(chart)
    chart.grid.grid_line_color = None
    chart.toolbar.logo = None
    return chart


def banner(
    places: np.ndarray, labels: Sequence[str], thumbnails: np.ndarray
) -> np.ndarray | None:
    """Return a picture in which images lie beside those that are like them.

    Each of a grid's cells gets one image, so that all of them together stay as near
    to their places on the map as they can (a linear assignment). Grey images are
    tinted with the colour of their label.
    """
    from scipy.optimize import linear_sum_assignment

    columns, rows = _banner_size(len(places))
    count = columns * rows
    if rows < 3:
        return None
    taken = np.linspace(0, len(places) - 1, count).astype(int)  # of every shard
    here = _evened(places[taken] * (1.0, -1.0))  # rows run down, the map's y runs up
    wanted = np.stack(
        np.meshgrid(np.arange(columns) / columns, np.arange(rows) / rows), axis=-1
    ).reshape(-1, 2)
    distance = np.square(wanted[:, None] - here[None]).sum(axis=-1)
    _, chosen = linear_sum_assignment(distance)
    known = colours_of(labels)
    tiles = np.stack(
        [
            _tile(thumbnails[one], known.get(labels[one], "#ffffff"))
            for one in taken[chosen]
        ]
    )
    return pictures.sheet(tiles, columns)


def _banner_size(count: int) -> tuple[int, int]:
    columns, rows = BANNER
    while columns * rows > count and rows > 0:
        rows -= 1
        columns = round(rows * BANNER[0] / BANNER[1])
    return columns, rows


def _evened(places: np.ndarray) -> np.ndarray:
    """Return ``places`` spread evenly over the unit square, by rank."""
    ranked = np.argsort(np.argsort(places, axis=0, kind="stable"), axis=0)
    return np.asarray(ranked / len(places))


def _tile(thumbnail: np.ndarray, colour: str) -> np.ndarray:
    import cv2

    height, width, channels = thumbnail.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = thumbnail[top : top + side, left : left + side]
    tile = cv2.resize(square, (TILE, TILE), interpolation=cv2.INTER_AREA)
    if channels == 3:
        return np.asarray(tile)
    tint = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255.0
    bright = 0.25 + 0.75 * tint
    return (tile.reshape(TILE, TILE, 1) * bright).astype(np.uint8)


def _by_label(chart: figure, columns: dict, known: dict[str, str]) -> None:
    groups = [name for name, colour in known.items() if colour != OTHER]
    rest = [name for name in np.unique(columns["label"]) if name not in groups]
    for title, names in [(name, [name]) for name in groups] + [("other", rest)]:
        inside = np.isin(columns["label"].astype(str), names)
        if not inside.any():
            continue
        source = ColumnDataSource({key: each[inside] for key, each in columns.items()})
        chart.scatter(
            "x", "y", source=source, size=8, alpha=0.8, line_color=None,
            fill_color=known.get(title, OTHER), legend_label=title[:40],
            muted_alpha=0.05,
        )  # fmt: skip
    chart.legend.click_policy = "mute"
    chart.legend.orientation = "horizontal"
    chart.legend.location = "center"
    chart.legend.label_text_font_size = "13px"
    longest = max(len(name) for name in groups)
    chart.legend.ncols = max(1, min(MANY, 90 // (longest + 6)))
    chart.add_layout(chart.legend[0], "below")


def _by_error(chart: figure, columns: dict) -> None:
    ranked = np.argsort(np.argsort(columns["error"]))
    shades = (ranked * 255 // max(1, len(ranked) - 1)).astype(int)
    columns["colour"] = np.array([Viridis256[shade] for shade in shades])
    chart.scatter(
        "x", "y", source=ColumnDataSource(columns), size=7, alpha=0.8,
        line_color=None, fill_color="colour",
    )  # fmt: skip


def _short(name: str) -> str:
    return name if len(name) <= 60 else f"…{name[-59:]}"
