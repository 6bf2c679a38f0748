"""Training curves: losses and learning rate by epoch."""

from collections.abc import Mapping, Sequence

from bokeh.models import (
    FixedTicker,
    HoverTool,
    LinearAxis,
    LogScale,
    PrintfTickFormatter,
    Range1d,
)
from bokeh.plotting import figure

TRAIN, HELD_OUT, RATE = "#4477aa", "#e0663c", "#8f8f8f"
QUIET = "#80868f"
"""A grey that is read on white and on black."""
MOST_RATES = 5
"""So many learning rates are written at the axis, at most."""
LEAST = 1e-3
"""Rates below this share of the highest are not shown: a plan ends at almost 0."""


def plot(history: Sequence[Mapping[str, float]]) -> figure:
    """Return the curves of ``history``: one record an epoch."""
    epochs = [record["epoch"] for record in history]
    chart = figure(
        height=320, sizing_mode="stretch_width", toolbar_location=None, tools="",
        x_axis_label="epoch", y_axis_label="loss",
    )  # fmt: skip
    lines = (("loss", "training", TRAIN), ("val_loss", "held out", HELD_OUT))
    drawn = []
    for key, title, colour in lines:
        values = [record.get(key) for record in history]
        if all(value is not None for value in values):
            style = {"color": colour, "legend_label": title, "name": title}
            drawn.append(chart.line(epochs, values, line_width=2.5, **style))
            chart.scatter(epochs, values, size=6, **style)
    rates = [record["learning_rate"] for record in history if "learning_rate" in record]
    if rates:  # a fit in closed form has none
        _add_rate(chart, epochs, rates)
    chart.add_tools(
        HoverTool(
            renderers=drawn,
            tooltips=[("epoch", "@x"), ("$name", "@y{0.00000}")],
            mode="vline",
        )
    )
    quieten(chart)
    chart.y_range.start = 0.0
    chart.legend.orientation = "horizontal"
    chart.legend.location = "top_right"
    return chart


def quieten(chart: figure) -> None:
    """Give ``chart`` colours that are read on light and on dark pages."""
    chart.background_fill_color = None
    chart.border_fill_color = None
    chart.outline_line_color = None
    chart.axis.axis_line_color = QUIET
    chart.axis.major_tick_line_color = QUIET
    chart.axis.minor_tick_line_color = None
    chart.axis.major_label_text_color = QUIET
    chart.axis.axis_label_text_color = QUIET
    chart.axis.axis_label_text_font_style = "normal"
    chart.grid.grid_line_color = QUIET
    chart.grid.grid_line_alpha = 0.2
    if chart.legend:
        chart.legend.background_fill_alpha = 0.0
        chart.legend.border_line_color = None
        chart.legend.label_text_color = QUIET


def _add_rate(chart: figure, epochs: list[float], rates: list[float]) -> None:
    low = max(min(rates), max(rates) * LEAST)
    chart.extra_y_ranges = {"rate": Range1d(low / 1.5, max(rates) * 6.0)}
    chart.extra_y_scales = {"rate": LogScale()}
    chart.step(
        epochs, rates, y_range_name="rate", color=RATE, line_width=1.5,
        line_dash="dashed", mode="after", legend_label="learning rate",
    )  # fmt: skip
    axis = LinearAxis(
        y_range_name="rate",
        axis_label="learning rate",
        ticker=FixedTicker(ticks=_marked(rates, low)),
        formatter=PrintfTickFormatter(format="%.2g"),
    )
    chart.add_layout(axis, "right")


def _marked(rates: Sequence[float], low: float) -> list[float]:
    """Return the learning rates to write: each, or of many the first and decades."""
    each = sorted(set(rates))
    if len(each) <= MOST_RATES:
        return each
    decades = (max(rates) / 10**power for power in range(MOST_RATES))
    return sorted(rate for rate in decades if rate >= low)
