"""``latentlake check DATASET``: are its settings right, can its images be read."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from pipelines import config
from pipelines.config import Settings
from pipelines.records import Entry, Rejection

TRIED = 10


def run(dataset: str) -> int:
    """Say what the source of ``dataset`` holds and how ten images fare."""
    from pipelines.sources import registry

    file = config.find(dataset)
    settings = config.load(file)
    console = Console()
    console.print(f"[bold]{file}[/]: the settings are valid")
    source = registry.open_source(settings.source)
    entries = sorted(source.list())
    console.print(_summary(settings, entries))
    tried = _spread(entries, TRIED)
    table = Table("entry", "label", "original", "verdict")
    good = 0
    for entry, data in source.read(tried):
        shape, verdict = _try(settings, data)
        good += verdict == "accepted"
        table.add_row(entry.source_uri, entry.label or "–", shape, verdict)
    console.print(table)
    console.print(f"{good} of {len(tried)} tried would be accepted.")
    return 0 if good else 4


def _summary(settings: Settings, entries: Sequence[Entry]) -> str:
    labels = Counter(entry.label for entry in entries if entry.label is not None)
    splits = Counter(entry.split for entry in entries if entry.split is not None)
    image = settings.image
    return (
        f"{len(entries):,} entries under {settings.source.path}; {len(labels)} labels; "
        f"split: {dict(splits) or f'{settings.split.eval_fraction:.0%} held out'}; "
        f"canonical: {image.height} × {image.width} × {image.channels}"
    )


def _spread(entries: Sequence[Entry], count: int) -> list[Entry]:
    """Return ``count`` entries from all over the list."""
    step = max(1, len(entries) // count)
    return list(entries[::step][:count])


def _try(settings: Settings, data: bytes | Rejection) -> tuple[str, str]:
    from pipelines.media.image import canonicalise

    result = data if isinstance(data, Rejection) else canonicalise(data, settings.image)
    if isinstance(result, Rejection):
        return "–", f"{result.reason}: {result.detail}"
    return f"{result.width} × {result.height} {result.format}", "accepted"
