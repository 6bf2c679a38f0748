"""The examples that train reads: in place on a disk, copied near from a bucket."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipelines.errors import ArtifactMismatch
from pipelines.lake import folders, nearby, store
from pipelines.lake.nearby import FarFile
from pipelines.lake.run import Run
from pipelines.stages import examples_list
from pipelines.stages.examples_list import SPLITS

if TYPE_CHECKING:
    from models.data import Examples


@contextlib.contextmanager
def at_hand(run: Run, transform_id: str) -> Iterator[dict[str, "Examples"]]:
    """Yield the examples of each split; where they lie far, from copies near by."""
    from models.data import Examples
    from models.spec import ImageShape

    image = run.settings.image
    shape = ImageShape(image.height, image.width, image.channels)
    with _paths(run, transform_id) as paths:
        try:
            examples = {split: Examples(paths[split], shape) for split in SPLITS}
        except ValueError as error:
            raise ArtifactMismatch(str(error)) from error
        except FileNotFoundError as error:
            raise ArtifactMismatch(
                f"{error.filename}: is missing, though {examples_list.NAME} lists it. "
                "Run transform again with --again."
            ) from error
        yield examples


@contextlib.contextmanager
def _paths(run: Run, transform_id: str) -> Iterator[dict[str, list[str]]]:
    """Yield the files of each split on this machine, by name."""
    found = listed(run, transform_id)
    if found is None:  # of a run that began before there was a list
        with _listing(run, transform_id) as paths:
            yield paths
        return
    if store.is_local(run.lake.root):
        yield {split: [one.path for one in found[split]] for split in SPLITS}
        return
    wanted = [one for split in SPLITS for one in found[split]]
    with nearby.files(wanted) as here:
        cut = len(found["train"])
        yield {"train": here[:cut], "eval": here[cut:]}


def listed(run: Run, transform_id: str) -> dict[str, list[FarFile]] | None:
    """Return the files that transform lists, by split and name; they may lie far."""
    path = run.path(examples_list.NAME)
    if not store.exists(path):
        return None
    files: dict[str, list[FarFile]] = {split: [] for split in SPLITS}
    for file in examples_list.read(path):
        split, _, name = file.path.partition("/")
        place = f"{run.lake.examples(transform_id, split)}/{name}"
        files[split].append(FarFile(place, file.bytes, file.sha256))
    return files


@contextlib.contextmanager
def _listing(run: Run, transform_id: str) -> Iterator[dict[str, list[str]]]:
    """Yield what lies in the folders; whole copies of them from a bucket."""
    with tempfile.TemporaryDirectory(prefix="latentlake-") as work:
        paths = {}
        for split in SPLITS:
            folder = run.lake.examples(transform_id, split)
            names = [one for one in store.names(folder) if one.endswith(".tfrecord")]
            if names and not store.is_local(folder):
                folders.fetch(folder, os.path.join(work, split))
                folder = os.path.join(work, split)
            paths[split] = [f"{folder}/{name}" for name in names]
        yield paths
