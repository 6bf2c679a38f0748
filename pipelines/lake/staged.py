"""Staged latents: what encode left for each shard, as rows of the feature table."""

import io
import itertools
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from pipelines.errors import ArtifactMismatch
from pipelines.lake import store
from pipelines.lake.layout import Lake
from pipelines.lake.run import Run
from pipelines.lake.tables import FEATURES_SCHEMA


def latents_file(lake: Lake, space_id: str, shard: str) -> str:
    """Return the file of the latents of ``shard``, as the image table names it."""
    _, night, name = shard.split("/")
    return lake.latents(space_id, f"{night}-{name.removesuffix('.tfrecord')}.parquet")


def feature_rows(run: Run, wanted: pa.Table, space_id: str) -> Iterator[pa.Table]:
    """Yield the feature rows of the ``wanted`` images, a shard at a time.

    ``wanted`` has the columns of a corpus and is sorted by shard.

    Raises:
        ArtifactMismatch: A latent is missing, or a file of them is damaged.
    """
    shards = wanted["shard"].to_pylist()
    start = 0
    for shard, group in itertools.groupby(shards):
        images = wanted.slice(start, sum(1 for _ in group))
        start += images.num_rows
        yield _of_shard(run, images, shard, space_id)


def _of_shard(run: Run, images: pa.Table, shard: str, space_id: str) -> pa.Table:
    path = latents_file(run.lake, space_id, shard)
    if not store.exists(path):
        raise ArtifactMismatch(_missing(run, path, images.num_rows))
    found = _read(run, path)
    places = pc.index_in(images["image_id"], value_set=found["image_id"])
    if places.null_count:
        raise ArtifactMismatch(_missing(run, path, places.null_count))
    count = images.num_rows
    latents = found.select(["latent", "reconstruction_error"]).take(places)
    columns = {name: images[name] for name in images.column_names}
    columns |= {name: latents[name] for name in latents.column_names}
    columns["space_id"] = pa.array([space_id] * count)
    columns["run_id"] = pa.array([run.run_id] * count)
    rows = pa.table({name: columns[name] for name in FEATURES_SCHEMA.names})
    return rows.cast(FEATURES_SCHEMA)


def _read(run: Run, path: str) -> pa.Table:
    try:
        return parquet.read_table(io.BytesIO(store.read_bytes(path)))
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk or the network: a retry may help
        raise ArtifactMismatch(
            f"{path}: these latents cannot be read ({error}). Delete the file, run "
            f"encode of {run.run_id} again (with --again), then publish."
        ) from error


def _missing(run: Run, path: str, count: int) -> str:
    return (
        f"{path}: lacks the latents of {count} images that are to be published. "
        f"Run encode of {run.run_id} again (with --again), then publish."
    )
