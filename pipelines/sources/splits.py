"""A source's own split, by the names it gives: train against test, val or eval."""

import re
from collections.abc import Iterable

from pipelines.records import Split

SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "test": "eval",
    "testing": "eval",
    "val": "eval",
    "valid": "eval",
    "validation": "eval",
    "dev": "eval",
    "eval": "eval",
    "evaluation": "eval",
}
"""What the names of splits mean here, in lower case."""

_WORD = re.compile(r"[A-Za-z]+")


def split_of(value: object) -> Split | None:
    """Return the split that a name stands for, ``None`` for one we do not know."""
    return SPLIT_NAMES.get(value.strip().lower()) if isinstance(value, str) else None


def splits_by_file(names: Iterable[str]) -> dict[str, Split]:
    """Return the split of each file, where the names make one: train and one other.

    ``train-00000-of-00005.parquet`` and ``test.parquet`` are such names; a lone
    ``train.parquet`` says nothing.
    """
    words = ((name, _WORD.match(name.rsplit("/", 1)[-1])) for name in names)
    return _complete({name: split_of(word[0]) for name, word in words if word})


def splits_by_folder(names: Iterable[str]) -> dict[str, Split]:
    """Return the split of each folder, where the whole names make one."""
    return _complete({name: split_of(name) for name in names})


def _complete(found: dict[str, Split | None]) -> dict[str, Split]:
    known = {name: split for name, split in found.items() if split}
    return known if set(known.values()) == {"train", "eval"} else {}
