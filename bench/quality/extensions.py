"""What each extension is worth: the table of the lines ``bench/extensions.py`` left."""

import json
import pathlib
from typing import Any, NamedTuple

from quality import words

FILE = "extensions.jsonl"
BESIDE = "plain"
"""The row that the others are compared with, and that stands first."""


class Column(NamedTuple):
    """A figure of the table.

    Attributes:
        title: Its heading.
        key: Its name in a line.
        form: How it is written.
        of: The rows that it is the purpose of; theirs is bold.
    """

    title: str
    key: str
    form: str
    of: tuple[str, ...] = ()


COLUMNS = (
    Column("linear", "linear", ".1f", ("attention", "discriminative", "all", "fusion")),
    Column("k-NN", "knn", ".1f", ("discriminative", "all", "fusion")),
    Column("PSNR dB", "psnr", ".1f"),
    Column("of noisy", "psnr_of_noisy", ".2f", ("noise",)),
    Column("of masked", "psnr_of_masked", ".2f", ("mask", "attention-mask")),
    Column("rank of code", "rank_of_code", ".0f"),
    Column("Fréchet of N(0, 1)", "frechet_of_prior", ".1f", ("kl",)),
    Column("error of features", "error_of_features", ".3f", ("perceptual",)),
    Column("images/s in training", "images_a_second", ",.0f"),
)


def section(folder: pathlib.Path) -> str:
    """Return the section; of nothing measured, only how to."""
    file = folder / FILE
    if not file.exists():
        return words.NO_EXTENSIONS
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    rows.sort(key=lambda row: row["name"] != BESIDE)
    lines = [
        words.ABOUT_EXTENSIONS.format(**rows[0]["of"]),
        f"| row | settings | {' | '.join(one.title for one in COLUMNS)} |",
        "|---|---|" + "---:|" * len(COLUMNS),
        *(_line(row) for row in rows),
        "",
    ]
    parts = [row for row in rows if "linear_of_patch" in row]
    lines += [words.PARTS.format(**row) for row in parts]
    return "\n".join(lines)


def _line(row: dict[str, Any]) -> str:
    given = ", ".join(f"{key} = {value}" for key, value in row["settings"].items())
    cells = [f"`{row['name']}`", given, *(_cell(row, one) for one in COLUMNS)]
    return f"| {' | '.join(cells)} |"


def _cell(row: dict[str, Any], column: Column) -> str:
    if column.key not in row:
        return ""
    said = f"{row[column.key]:{column.form}}"
    return f"**{said}**" if row["name"] in column.of else said
