"""Fill the page's template; every text is escaped."""

import json
from collections.abc import Mapping
from typing import Any

import jinja2
from bokeh.embed import components
from bokeh.plotting import figure
from bokeh.resources import Resources
from markupsafe import Markup

TEMPLATE = "report.html"
LIBRARY = Resources(mode="inline", components=["bokeh"])


def render(values: Mapping[str, Any], charts: Mapping[str, figure]) -> str:
    """Return the whole page: ``values`` are texts and numbers, ``charts`` are plots.

    It asks nothing of the network, and its policy forbids it to.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipelines", "pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["compact"] = compact
    environment.filters["pretty"] = pretty
    script, divisions, library = _embedded(charts)
    return environment.get_template(TEMPLATE).render(
        **values, charts=divisions, chart_script=script, chart_library=library
    )


def compact(value: float | None) -> str:
    """Return ``value`` in a few characters."""
    if value is None:
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def pretty(value: object) -> str:
    """Return ``value`` as readable JSON."""
    return json.dumps(value, indent=1, sort_keys=True, default=str)


def _embedded(charts: Mapping[str, figure]) -> tuple[Markup, dict[str, Markup], Markup]:
    if not charts:
        return Markup(), {}, Markup()
    script, divisions = components(dict(charts))  # Bokeh escapes what it embeds
    safe = {name: Markup(each) for name, each in divisions.items()}
    return Markup(script), safe, Markup(LIBRARY.render_js())
