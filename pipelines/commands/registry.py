"""What people ask between nights, by name; each is imported once it is chosen."""

import os
from collections.abc import Callable
from typing import Literal

import tyro

from models.settings import DEFAULT
from pipelines.flags import DEFAULT_LAKE

LAKE = os.environ.get("LATENTLAKE_LAKE", DEFAULT_LAKE)


def run(name: str, argv: list[str]) -> int:
    """Return the exit code of the command ``name`` with the flags ``argv``."""
    commands: dict[str, Callable[..., int]] = {
        "init": init,
        "check": check,
        "status": status,
        "rollback": rollback,
        "release": release,
        "tune": tune,
        "generate": generate,
    }
    return tyro.cli(commands[name], prog=f"latentlake {name}", args=argv)


def init(  # noqa: PLR0913 - each is a flag
    folder: tyro.conf.Positional[str],
    /,
    *,
    name: str | None = None,
    height: int = 64,
    width: int = 64,
    channels: int = 3,
    image_column: str = "image",
    preset: str = DEFAULT.preset,
) -> int:
    """Write the settings of a new dataset, every one explained.

    Args:
        folder: Where its images are: a folder, file or glob that fsspec reads.
        name: The dataset's name; by default made from the folder's.
        height: Rows of a canonical image, in pixels.
        width: Columns of a canonical image, in pixels.
        channels: 3 for RGB, 1 for grey.
        image_column: Parquet: the column of encoded images.
        preset: conv, fusion, instance, patch, resnet or vit (docs/encoders.md).
    """
    from pipelines.commands import init as command

    shape: dict[str, object] = {"height": height, "width": width, "channels": channels}
    given: dict[str, dict[str, object]] = {
        "source": {"image_column": image_column},
        "image": shape,
        "encoder": {"preset": preset},
    }
    return command.run(folder, name=name, given=given)


def check(dataset: tyro.conf.Positional[str], /) -> int:
    """Validate a dataset's settings and try ten of its images.

    Args:
        dataset: Name of a dataset, or path of its TOML file.
    """
    from pipelines.commands import check as command

    return command.run(dataset)


def status(
    dataset: tyro.conf.Positional[str | None] = None, /, *, lake: str = LAKE
) -> int:
    """Say last night, snapshot, space, age and what is due.

    Args:
        dataset: Name of a dataset; by default every one in the lake.
        lake: Root of everything this project writes.
    """
    from pipelines.commands import status as command

    return command.run(lake, dataset)


def rollback(
    dataset: tyro.conf.Positional[str],
    /,
    *,
    to_snapshot: int | None = None,
    lake: str = LAKE,
) -> int:
    """Move both tables of a dataset back, and hold them there until ``release``.

    Args:
        dataset: Name of a dataset.
        to_snapshot: Snapshot of the feature table; by default the one before.
        lake: Root of everything this project writes.
    """
    from pipelines.commands import rollback as command

    return command.run(lake, dataset, to_snapshot=to_snapshot)


def release(dataset: tyro.conf.Positional[str], /, *, lake: str = LAKE) -> int:
    """Let nights publish again after a rollback.

    Args:
        dataset: Name of a dataset.
        lake: Root of everything this project writes.
    """
    from pipelines.commands import release as command

    return command.run(lake, dataset)


def tune(  # noqa: PLR0913 - each is a flag
    dataset: tyro.conf.Positional[str],
    /,
    *,
    minutes: float,
    trials: int | None = None,
    images: int = 20_000,
    out: str | None = None,
    work: str | None = None,
    lake: str = LAKE,
) -> int:
    """Search settings of training and encoder for better ones; change nothing else.

    Args:
        dataset: Name of a dataset.
        minutes: After so long no further trial begins; the last one is finished.
        trials: So many trials are made in all, over all calls; by default any number.
        images: Training examples that trials learn from and are judged on, at most.
        out: The folder of tuned.toml and search.png; by default tuned/DATASET.
        work: The folder of the study; by default in the lake, of a bucket in --out.
        lake: Root of everything this project writes.
    """
    from pipelines.commands import tune as command

    wish = command.Wish(
        minutes=minutes, trials=trials, images=images, out=out, work=work
    )
    return command.run(lake, dataset, wish)


def generate(  # noqa: PLR0913 - each is a flag
    dataset: tyro.conf.Positional[str],
    /,
    *,
    count: int = 64,
    space: str | None = None,
    seed: int = 0,
    out: str | None = None,
    density: Literal["auto", "mixture", "gaussian", "prior"] = "auto",
    lake: str = LAKE,
) -> int:
    """Draw new images from the latent space of an encoder; no table is changed.

    Args:
        dataset: Name of a dataset.
        count: How many images.
        space: Whose space, by its id; by default the accepted encoder's.
        seed: The same one gives the same images.
        out: The new folder they go to; by default generated/DATASET.
        density: Of the latents; auto: the prior of a variational encoder, else mixture.
        lake: Root of everything this project writes.
    """
    from pipelines.commands import generate as command

    wish = command.Wish(count=count, space=space, seed=seed, out=out, density=density)
    return command.run(lake, dataset, wish)
