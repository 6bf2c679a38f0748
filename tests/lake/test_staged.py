import pyarrow as pa
import pytest
from pyarrow import parquet

from pipelines import config
from pipelines.errors import ArtifactMismatch
from pipelines.lake import staged, store
from pipelines.lake.layout import Lake
from pipelines.lake.run import Run
from pipelines.lake.tables import FEATURES_SCHEMA

SHARD = "spec/2026-01-01/abc.tfrecord"


@pytest.fixture
def run(tmp_path):
    settings = config.parse({"source": {"path": "/images"}}, origin="test")
    return Run(Lake(str(tmp_path), "birds"), "2026-01-01-1", "2026-01-01", settings)


def wanted():
    image = dict.fromkeys(FEATURES_SCHEMA.names)
    return pa.Table.from_pylist([image | {"image_id": "a", "shard": SHARD}])


@pytest.mark.parametrize("kept", [0, 4, 100, -10, -1])
def test_a_damaged_file_of_latents_is_an_artefact_that_does_not_match(run, kept):
    path = staged.latents_file(run.lake, "space", SHARD)
    latents = {"image_id": ["a"], "latent": [[0.5] * 8], "reconstruction_error": [0.1]}
    with store.aside(path) as file:
        parquet.write_table(pa.table(latents), file)
    store.write_bytes(path, store.read_bytes(path)[:kept])

    with pytest.raises(ArtifactMismatch, match=r"abc\.parquet: .*Delete the file"):
        list(staged.feature_rows(run, wanted(), "space"))
