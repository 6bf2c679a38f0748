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
    for words in _too_few(settings, entries):
        console.print(f"[bold]Too few:[/] {words}", highlight=False)
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


def _too_few(settings: Settings, entries: Sequence[Entry]) -> list[str]:
    """Return what a night would be refused for once it has done all its work."""
    train, held_out = _sides(settings, entries)
    found = []
    if train < settings.train.min_images:
        found.append(
            f"about {train} training images, and train.min_images asks for "
            f"{settings.train.min_images}: no encoder would be trained. Add images, or "
            "lower it."
        )
    if held_out < settings.gate.min_images and not settings.gate.allow_small:
        found.append(
            f"about {held_out} images held out, and gate.min_images asks for "
            f"{settings.gate.min_images}: no encoder would be accepted. Add images, "
            "raise split.eval_fraction, or set gate.allow_small = true."
        )
    return found


def _sides(settings: Settings, entries: Sequence[Entry]) -> tuple[int, int]:
    """Return about how many images would be trained on, and held out."""
    own = Counter(entry.split for entry in entries)
    hashed = own[None]
    held_out = round(hashed * settings.split.eval_fraction)
    return own["train"] + hashed - held_out, own["eval"] + held_out


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
