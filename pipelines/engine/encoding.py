"""Encode one shard: pixels to latents and reconstruction errors, as Parquet."""

import threading
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from models import artifact
from models.artifact import Artifact, ArtifactError
from pipelines.errors import ArtifactMismatch
from pipelines.lake import folders, shards, store
from pipelines.lake.layout import Lake

BATCHES = 8
"""So many of the encoder's batches are in memory at a time."""
GREY_LEVELS = np.float32(255.0)
LATENTS_SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("row", pa.int32(), nullable=False),
        pa.field(
            "latent",
            pa.list_(pa.field("element", pa.float32(), nullable=False)),
            nullable=False,
        ),
        pa.field("reconstruction_error", pa.float32(), nullable=False),
    ]
)
"""One row for each image of a shard, in its order."""


class EncodePlan(NamedTuple):
    """What a worker is told: plain values, since they are pickled.

    Attributes:
        lake: The places of the dataset.
        space_id: The accepted encoder's space.
        image_spec_id: What the shards' images are.
    """

    lake: Lake
    space_id: str
    image_spec_id: str

    def file(self, stem: str) -> str:
        """Return the path of the latents of the shard known as ``stem``."""
        return self.lake.latents(self.space_id, f"{stem}.parquet")


class EncodeTally(NamedTuple):
    """What became of one shard.

    Attributes:
        images: How many it holds.
        skipped: Whether its latents stood already.
    """

    images: int
    skipped: bool


def load(plan: EncodePlan) -> Artifact:
    """Return the encoder that ``plan`` names, loaded once per process and checked.

    Raises:
        ArtifactMismatch: It is not what its card says, or is for other images.
    """
    with _LOADING:
        if plan not in _LOADED:
            _LOADED.clear()  # one encoder at a time is enough memory
            _LOADED[plan] = _load(plan)
        return _LOADED[plan]


_LOADED: dict[EncodePlan, Artifact] = {}
_LOADING = threading.Lock()


def _load(plan: EncodePlan) -> Artifact:
    folder = plan.lake.encoder(plan.space_id)
    try:
        with folders.at_hand(folder) as local:
            encoder = artifact.load(local)
    except ArtifactError as error:
        raise ArtifactMismatch(
            f"{folder}: {error} Restore the folder from a copy, or have a new encoder "
            f"trained: latentlake night {plan.lake.dataset} --retrain always"
        ) from error
    found = (encoder.space_id, encoder.card["image_spec_id"])
    if found != (plan.space_id, plan.image_spec_id):
        raise ArtifactMismatch(
            f"{folder}: holds the encoder of space {found[0]} for images of spec "
            f"{found[1]}, and wanted are space {plan.space_id} and images of spec "
            f"{plan.image_spec_id}. Have an encoder trained for these images: "
            f"latentlake night {plan.lake.dataset} --retrain always"
        )
    return encoder


def encode_shard(shard: str, stem: str, plan: EncodePlan) -> EncodeTally:
    """Write the latents of ``shard``; a file that stands is left alone."""
    path = plan.file(stem)
    if store.exists(path):  # written aside and renamed: whole, or not there
        return EncodeTally(0, skipped=True)
    encoder = load(plan)
    images = shards.read_shard(plan.lake.shard_file(shard))
    latents = np.empty((len(images.pixels), encoder.latent_dim), np.float32)
    errors = np.empty(len(images.pixels), np.float32)
    for here in _slices(len(images.pixels)):
        pixels = images.pixels[here]
        latents[here], painted = encoder.encode_and_reconstruct(pixels)
        errors[here] = squared_errors(pixels, painted)
    with store.aside(path) as file:
        table = latents_table(images.image_ids, latents, errors)
        parquet.write_table(table, file, compression="zstd", use_dictionary=False)
    return EncodeTally(len(images.image_ids), skipped=False)


def _slices(count: int) -> Iterator[slice]:
    size = BATCHES * artifact.BATCH_SIZE
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def squared_errors(pixels: np.ndarray, painted: np.ndarray) -> np.ndarray:
    """Return the mean squared error of each image, on pixels in [0, 1]."""
    gap = pixels.reshape(len(pixels), -1) / GREY_LEVELS
    gap -= painted.reshape(len(painted), -1)
    return np.einsum("ij,ij->i", gap, gap) / np.float32(gap.shape[1])


def latents_table(
    image_ids: list[str], latents: np.ndarray, errors: np.ndarray
) -> pa.Table:
    """Return one row for each image."""
    ends = np.arange(len(latents) + 1, dtype=np.int32) * latents.shape[1]
    kind = LATENTS_SCHEMA.field("latent").type
    columns = [
        pa.array(image_ids, pa.string()),
        pa.array(np.arange(len(latents), dtype=np.int32)),
        pa.ListArray.from_arrays(pa.array(ends), latents.ravel(), type=kind),
        pa.array(errors),
    ]
    return pa.Table.from_arrays(columns, schema=LATENTS_SCHEMA)
