"""The examples that train reads: in place on a disk, copied near from a bucket."""

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pipelines.errors import ArtifactMismatch
from pipelines.lake import folders, manifest, nearby, store
from pipelines.lake.nearby import Remote
from pipelines.lake.run import Run

if TYPE_CHECKING:
    from models.data import Examples

FORMAT_VERSION = 1
LIST = "examples.json"
"""What transform leaves in the run: every file of examples, with its digest."""
SPLITS = ("train", "eval")
_PATH = re.compile(r"(train|eval)/[\w.-]+\.tfrecord", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")


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
                f"{error.filename}: is missing, though {LIST} lists it. "
                "Run transform again with --again."
            ) from error
        yield examples


@contextlib.contextmanager
def _paths(run: Run, transform_id: str) -> Iterator[dict[str, list[str]]]:
    """Yield the files of each split on this machine, by name."""
    listed = _listed(run, transform_id)
    if listed is None:  # of a run that began before there was a list
        with _listing(run, transform_id) as paths:
            yield paths
        return
    if store.is_local(run.lake.root):
        yield {split: [one.path for one in listed[split]] for split in SPLITS}
        return
    wanted = [one for split in SPLITS for one in listed[split]]
    with nearby.files(wanted) as here:
        cut = len(listed["train"])
        yield {"train": here[:cut], "eval": here[cut:]}


def _listed(run: Run, transform_id: str) -> dict[str, list[Remote]] | None:
    """Return the files that transform lists, by split and name."""
    path = run.path(LIST)
    if not store.exists(path):
        return None
    value = store.read_json(path)
    manifest.check_version(value, path, FORMAT_VERSION)
    found: dict[str, list[Remote]] = {split: [] for split in SPLITS}
    for entry in sorted(value["files"], key=lambda entry: str(entry["path"])):
        split, name = _checked(entry, path)
        place = f"{run.lake.examples(transform_id, split)}/{name}"
        found[split].append(Remote(place, entry["bytes"], entry["sha256"]))
    return found


def _checked(entry: dict[str, Any], path: str) -> tuple[str, str]:
    """Return split and name of a file: both will be parts of a path."""
    sound = (
        isinstance(entry.get("bytes"), int)
        and _PATH.fullmatch(str(entry.get("path")))
        and _SHA256.fullmatch(str(entry.get("sha256")))
    )
    if not sound:
        raise ArtifactMismatch(
            f"{path}: has an entry that names no file of examples: {entry}. "
            "Run transform again with --again."
        )
    split, _, name = entry["path"].partition("/")
    return split, name


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
