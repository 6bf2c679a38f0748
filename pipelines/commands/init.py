"""``latentlake init FOLDER``: the settings of a new dataset, every one explained."""

import json
import pathlib
import re
import textwrap
from collections.abc import Mapping

from rich.console import Console

from pipelines import config
from pipelines.config import Section, Settings
from pipelines.errors import ConfigError
from pipelines.lake.layout import absolute


def run(
    folder: str,
    *,
    name: str | None,
    given: Mapping[str, Mapping[str, object]],
) -> int:
    """Write ``<name>.toml`` for the images in ``folder``; return the exit code.

    Args:
        folder: Where the images are.
        name: The dataset's name; by default made from the folder's.
        given: Settings by their section; all others have their defaults.

    Raises:
        ConfigError: The source is missing, a value is out of range, or the file
            stands already.
    """
    from pipelines.sources import registry

    dataset = config.check_name(name or name_from(folder))
    file = config.find(dataset)
    if file.exists():
        raise ConfigError(
            f"{file}: stands already, and is left as it is. Edit it, remove it, or "
            "choose another name with --name."
        )
    source = {"path": absolute(folder), **given.get("source", {})}
    settings = config.parse({**given, "source": source}, origin="these flags")
    registry.open_source(settings.source)  # a missing folder is said now
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(render(dataset, settings), encoding="utf-8")
    Console().print(
        f"[bold]{file}[/] written. Next:\n"
        f"  latentlake check {dataset}\n"
        f"  latentlake night {dataset}"
    )
    return 0


def name_from(folder: str) -> str:
    """Return a dataset's name made of the last part of ``folder``."""
    stem = pathlib.PurePath(folder.rstrip("/")).name.split(".")[0].lower()
    word = re.sub(r"[^a-z0-9]+", "_", stem).strip("_")
    return word if word[:1].isalpha() else f"dataset_{word}".rstrip("_")


def render(dataset: str, settings: Settings) -> str:
    """Return ``settings`` as TOML, with each field's text as its comment."""
    parts = [
        f"# Settings of the dataset {dataset}. What is left out has the value shown.\n"
    ]
    for name, field in type(settings).model_fields.items():
        section = getattr(settings, name)
        parts.append(f"# {field.description}\n[{name}]\n{_keys(section)}")
    return "\n".join(parts)


def _keys(section: Section) -> str:
    lines = []
    for name, field in type(section).model_fields.items():
        text = textwrap.fill(field.description or "", 86)
        lines.append(textwrap.indent(text, "# "))
        # JSON's scalars and lists are written as TOML's are
        value = json.dumps(getattr(section, name), ensure_ascii=False)
        lines.append(f"{name} = {value}\n")
    return "\n".join(lines)
