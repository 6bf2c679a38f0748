"""Whose table it is: two lakes may share a catalog, but not a dataset's name in it."""

import os
from typing import TYPE_CHECKING

from pipelines.errors import ArtifactMismatch, ConfigError
from pipelines.lake.layout import Lake

if TYPE_CHECKING:
    from pyiceberg.table import Table


def check(lake: Lake, table: "Table") -> None:
    """Raise :class:`ConfigError` where ``table`` is that of another lake."""
    name = table.name()[-1]
    wanted, found = (_plain(one) for one in (lake.table(name), table.location()))
    if wanted != found:
        tail = lake.table(name).removeprefix(lake.root)
        raise ConfigError(
            f"{lake.dataset}.{name}: this catalog's table of that name is of the lake "
            f"{found.removesuffix(tail)}, not of {lake.root}. Two lakes cannot share "
            "a dataset's name in one catalog: name the dataset otherwise, give one of "
            "the lakes another catalog (LATENTLAKE_CATALOG), or give --lake as it was "
            "when the tables were made."
        )


def unseen(lake: Lake, name: str, error: FileNotFoundError) -> ArtifactMismatch:
    """Return the error for a table whose own files are not there."""
    return ArtifactMismatch(
        f"{lake.dataset}.{name}: the catalog names a file that is not there ({error}). "
        "Restore the lake's warehouse; or, where the table is of another lake, which "
        "this machine does not see, name this dataset otherwise or give this lake a "
        "catalog of its own (LATENTLAKE_CATALOG)."
    )


def _plain(place: str) -> str:
    """Return ``place`` so that two names of one place are equal."""
    scheme, mark, rest = place.removeprefix("file://").rstrip("/").partition("://")
    if not mark:
        return os.path.realpath(scheme)
    return f"{'s3' if scheme in ('s3a', 's3n') else scheme}://{rest}"
