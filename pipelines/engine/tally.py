"""What the elements of a job came to: counted on the workers, written by one of them.

A job that began anew after it lost a host counts in its last attempt only, so that what
an earlier attempt finished is found standing there, and counted as such.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable
from typing import Any

import apache_beam as beam

from pipelines.lake import store


@dataclasses.dataclass(eq=False)
class WriteTally(beam.PTransform):
    """Add up named tuples field by field into the JSON file at ``path``.

    Beside their fields it holds ``elements``, how many there were.
    """

    path: str

    def expand(self, tallies: beam.PCollection) -> beam.PCollection:
        return (
            tallies
            | "AddUp" >> beam.CombineGlobally(add_up)
            | "Write" >> beam.Map(_write, self.path)
        )


def add_up(tallies: Iterable[Any]) -> dict[str, int]:
    """Return the sums of ``tallies``, which may be sums already."""
    total: Counter[str] = Counter(elements=0)
    for one in tallies:
        total.update(one if isinstance(one, dict) else one._asdict() | {"elements": 1})
    return dict(total)


def take(path: str) -> dict[str, int]:
    """Return the sums at ``path`` and delete it: the manifest has them from now on."""
    found = dict(store.read_json(path))
    store.delete(path)
    return found


def _write(total: dict[str, int], path: str) -> None:
    store.write_json(path, total)
