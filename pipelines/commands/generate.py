"""Generate: draw new images from the latent space of an encoder."""

import contextlib
import dataclasses
import os
import pathlib
import shutil
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.table import Table

from pipelines.commands import standing
from pipelines.config import check_name
from pipelines.errors import ArtifactMismatch, ConfigError
from pipelines.lake import folders, pointer, store
from pipelines.lake.layout import Lake, absolute

if TYPE_CHECKING:  # Keras is imported once all that was asked for can be had
    from models.artifact import Artifact

MOST = 100_000
"""Images that one call makes, at most."""
REPORT = "generated.json"
SHEET = "sheet.png"

DensityName = Literal["auto", "mixture", "gaussian", "prior"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wish:
    """What is to be generated.

    Attributes:
        count: How many images.
        space: Whose space they are drawn from; the accepted encoder's by default.
        seed: The same one gives the same images.
        out: The folder they go to; by default one of the dataset's name.
        density: Where latents are drawn from.
    """

    count: int
    space: str | None = None
    seed: int = 0
    out: str | None = None
    density: DensityName = "auto"


def run(lake_root: str, dataset: str, wish: Wish) -> int:
    """Write new images of ``dataset``, a sheet and their figures; change no table."""
    lake = Lake(absolute(lake_root), check_name(dataset))
    if not 1 <= wish.count <= MOST:
        raise ConfigError(f"--count {wish.count}: from 1 to {MOST:,} images are made.")
    folder = _place(lake, wish)
    standing.both(lake)
    space_id = _space(lake, wish.space)
    from models import device

    device.choose_backend()  # before Keras is imported
    from pipelines.commands import generating

    with _whole(folder) as aside, _encoder(lake, space_id) as encoder:
        figures = generating.make(lake, encoder, wish, aside)
    _say(folder, figures)
    return 0


def _place(lake: Lake, wish: Wish) -> pathlib.Path:
    """Return where the images go: a folder that does not stand yet."""
    if wish.out and "://" in wish.out:
        raise ConfigError(f"--out {wish.out}: give a folder of this machine.")
    folder = pathlib.Path(wish.out or os.path.join("generated", lake.dataset))
    if folder.exists():
        raise ConfigError(
            f"{folder}: stands already, and is left as it is. Remove it, or choose "
            "another folder with --out."
        )
    return folder.absolute()


def _space(lake: Lake, wanted: str | None) -> str:
    if wanted is None:
        accepted = pointer.read(lake)
        if accepted is None:
            raise ConfigError(
                f"{lake.dataset}: no encoder was accepted yet, so there is no space to "
                f"draw from. Run: latentlake night {lake.dataset} --lake {lake.root}"
            )
        return accepted.space_id
    known = store.names(lake.own("encoders"))
    if wanted not in known:
        raise ConfigError(
            f"--space {wanted}: {lake.dataset} has no such encoder; there are "
            f"{', '.join(known) or 'none'}."
        )
    return wanted


@contextlib.contextmanager
def _encoder(lake: Lake, space_id: str) -> "Iterator[Artifact]":
    """Yield the encoder of a space, checked.

    Raises:
        ArtifactMismatch: Its files are not what its card says.
    """
    from models import artifact

    folder = lake.encoder(space_id)
    if not store.exists(f"{folder}/{artifact.CARD}"):
        raise ArtifactMismatch(
            f"{folder}: holds no whole encoder. Restore the folder from a copy, or "
            f"have one trained: latentlake night {lake.dataset} --retrain always"
        )
    with folders.at_hand(folder) as local:
        try:
            yield artifact.load(local)
        except artifact.ArtifactError as error:
            raise ArtifactMismatch(
                f"{folder}: {error} Restore the folder from a copy, or have one "
                f"trained: latentlake night {lake.dataset} --retrain always"
            ) from error


@contextlib.contextmanager
def _whole(folder: pathlib.Path) -> Iterator[str]:
    """Yield a hidden folder; it stands at ``folder`` once all is in it, or never."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    aside.mkdir()
    try:
        yield str(aside)
        os.rename(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _say(folder: pathlib.Path, figures: dict[str, Any]) -> None:
    console = Console(soft_wrap=True, highlight=False)
    apart = figures["frechet"]
    grid = Table("Fréchet distance to held-out images", "", box=None)
    for name, words in WORDS.items():
        style = "bold" if name == "generated" else ""
        grid.add_row(words, f"{apart[name]:.4f}", style=style)
    console.print(grid)
    near = figures["neighbours"]
    verdict = (
        "no copies" if near["ok"] else "TOO CLOSE: the space may be learned by heart"
    )
    console.print(
        f"Nearest training image: {near['ratio']:.2f} times as far as from held-out "
        f"images ({near['limit']} or more is wanted): {verdict}."
    )
    console.print(
        f"[bold]{folder}[/]: {figures['count']:,} images, {SHEET}, {REPORT} "
        f"({figures['density']['density']} density of space {figures['space_id']})"
    )


WORDS = {
    "training": "training images: the floor",
    "reconstructions": "held-out images, encoded and decoded",
    "generated": "generated images",
    "noise": "decoded noise: the ceiling",
}
"""What each distance is from, nearest first where all is well."""
