"""The tables that stand of a dataset: what a command works on, and never makes."""

from typing import TYPE_CHECKING

from pipelines.errors import ConfigError
from pipelines.lake import catalog, tables
from pipelines.lake.layout import Lake

if TYPE_CHECKING:
    from pyiceberg.table import Table


def both(lake: Lake) -> tuple["Table", "Table"]:
    """Return the image table and the feature table of the dataset.

    Raises:
        ConfigError: There are none; nothing was made of a lake that is mistyped.
    """
    if catalog.is_there(lake):
        images, features = tables.find(lake, "images"), tables.find(lake, "features")
        if images is not None and features is not None:
            return images, features
    raise ConfigError(
        f"{lake.root}: the dataset {lake.dataset!r} has no tables in this lake. "
        "Look at the name and at --lake."
    )
