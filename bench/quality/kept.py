"""What was measured, kept as one small JSON for each row and seed."""

import ast
import hashlib
import json
import pathlib
import platform
from collections.abc import Iterator
from typing import Any

from quality.datasets import Dataset
from quality.rows import Row

PROTOCOL = 1
"""Counts up when what a figure means changes: everything is then measured again."""
ROOT = pathlib.Path(__file__).parents[2]
_NOT_CODE = {"models.section", "models.settings", "models.presets.registry"}
"""The settings of a row are in its digest as they are; other presets are not its."""


def path(folder: pathlib.Path, dataset: str, row: str, seed: int) -> pathlib.Path:
    """Return where the figures of a row and seed are kept."""
    return folder / dataset / row / f"{seed}.json"


def identity(row: Row, dataset: Dataset, seed: int) -> dict[str, str]:
    """Return what figures must be of, not to be measured again."""
    settings = {
        "protocol": PROTOCOL,
        "row": row.settings(seed),
        "dataset": [dataset.name, list(dataset.shape)],
        "seed": seed,
    }
    return {"settings": digest(settings), "code": code_digest(row)}


def stands(file: pathlib.Path, wanted: dict[str, str]) -> bool:
    """Return whether ``file`` holds figures of just this."""
    found = read(file)
    return found is not None and found.get("of") == wanted


def read(file: pathlib.Path) -> dict[str, Any] | None:
    """Return what ``file`` holds; ``None`` where there is none."""
    if not file.exists():
        return None
    return dict(json.loads(file.read_text(encoding="utf-8")))


def write(file: pathlib.Path, found: dict[str, Any]) -> None:
    """Put figures at ``file``, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_suffix(".aside")
    aside.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    aside.replace(file)


def digest(value: Any) -> str:
    """Return a short digest of ``value``."""
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def code_digest(row: Row) -> str:
    """Return a digest of the code in ``models/`` that makes the row's encoder.

    Of the modules of its presets, ``models.fit`` and all they import; comments and
    docstrings may change freely.
    """
    first = {f"models.presets.{preset}" for preset in row.presets()}
    if first:
        first.add("models.fit")
    elif row.kind == "pca":
        first.add("models.pca")
    modules: dict[str, str] = {}
    waiting = sorted(first)
    while waiting:
        name = waiting.pop()
        file = ROOT / f"{name.replace('.', '/')}.py"
        if name in modules or name in _NOT_CODE or not file.exists():
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        waiting += _imported(tree)
        modules[name] = ast.dump(_bare(tree))
    return digest(modules)


def processor() -> str:
    """Return the name of this machine's processor."""
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.machine()


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            "models"
        ):
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.startswith("models."))


def _bare(tree: ast.Module) -> ast.Module:
    """Return ``tree`` without its docstrings."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [one for one in body if not _is_text(one)]  # type: ignore[attr-defined]
    return tree


def _is_text(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
