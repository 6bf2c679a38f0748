"""Release: let nights publish again after a rollback."""

from rich.console import Console

from pipelines.commands import standing
from pipelines.config import check_name
from pipelines.lake import branches, lease, tables
from pipelines.lake.layout import Lake, absolute


def run(lake_root: str, dataset: str) -> int:
    """Take the hold off both tables; one that is not held is no error.

    Args:
        lake_root: Root of the lake.
        dataset: The dataset's name.
    """
    lake = Lake(absolute(lake_root), check_name(dataset))
    standing.both(lake)  # before the lease, which would make a folder
    with lease.hold(lake, "latentlake release"):
        was_held = any(branches.held(table) for table in standing.both(lake))
        for name in tables.NAMES:
            branches.release(lake, name)
    said = "released; the next night publishes again" if was_held else "was not held"
    Console(soft_wrap=True).print(f"{lake.dataset}: {said}.", highlight=False)
    return 0
