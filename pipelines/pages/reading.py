"""The table as the page shows it: its snapshots, and code that reads it."""

import os
from typing import NamedTuple

from pipelines.errors import ConfigError, Unreachable
from pipelines.lake import catalog, tables
from pipelines.lake.layout import Lake

NEWEST = 12
"""So many snapshots are listed, at most."""


class Snapshot(NamedTuple):
    """One version of the feature table that ``main`` has named."""

    snapshot_id: int
    night: str
    rows: int
    space_id: str
    drift: float | None
    current: bool


def snapshots(lake: Lake) -> list[Snapshot]:
    """Return the line of snapshots that leads to ``main``, the newest first.

    Empty where the catalog does not open just now: a page is made on bad nights too.
    """
    try:
        table = tables.find(lake, "features")
    except (ConfigError, Unreachable):
        return []
    found: list[Snapshot] = []
    here = table.current_snapshot() if table else None
    while table and here and len(found) < NEWEST:
        said = tables.properties_of(here)
        drift = said.get("latentlake.drift")
        found.append(
            Snapshot(
                here.snapshot_id,
                said.get("latentlake.night", ""),
                int(said.get("total-records", 0)),
                said.get("latentlake.space_id", ""),
                float(drift) if drift else None,
                current=not found,
            )
        )
        parent = here.parent_snapshot_id
        here = table.snapshot_by_id(parent) if parent else None
    return [each for each in found if each.night or each.current]


def code(lake: Lake) -> str:
    """Return Python that reads the feature table with pandas and with DuckDB."""
    if os.environ.get(catalog.VARIABLE):
        opened = f'load_catalog("{catalog.NAME}")  # as {catalog.VARIABLE} names it'
    else:
        uri, home = f"sqlite:///{lake.catalog_file}", lake.warehouse
        opened = (
            f'load_catalog("{catalog.NAME}", type="sql",\n'
            f"                       uri={uri!r},\n"
            f"                       warehouse={home!r})"
        )
    return (
        "from pyiceberg.catalog import load_catalog\n\n"
        f"catalog = {opened}\n"
        f'features = catalog.load_table("{lake.dataset}.features")\n\n'
        "frame = features.scan().to_pandas()          # pandas\n\n"
        'duck = features.scan().to_duckdb("features") # DuckDB\n'
        'duck.sql("""select label, count(*) as images,\n'
        "                   avg(reconstruction_error) as error\n"
        '            from features group by label order by label""").show()\n'
    )
