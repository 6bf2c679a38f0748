"""The same night on two hosts as on this machine, also where one of them is lost."""

import shutil
import time

import flink_cluster
import numpy as np
import pytest

from pipelines.lake import pointer, tables
from pipelines.lake import run as runs
from pipelines.lake.layout import Lake

pytestmark = pytest.mark.slow
IMAGES = 10_000
NIGHT_RUN = "2026-01-01-1"
BEGUN = 12
"""So many chunks stand when a host is killed; many more do not."""
PATIENCE_S = 600


@pytest.fixture(scope="module")
def local(place, source):
    """Return the night as this machine does it, an accepted encoder included."""
    made = place("local", source, {"workers": 2})
    for stage in ("ingest", "transform", "train"):
        made.run(stage)
    lake = lake_of(made)
    space_id = made.manifest("train")["wrote"]["space_id"]
    pointer.accept(lake, space_id, runs.pinned(lake, NIGHT_RUN), eval_error=0.5)
    for stage in ("encode", "publish"):
        made.run(stage)
    return made


@pytest.fixture(scope="module")
def remote(place, source, cluster, local):
    """Return the night as two hosts do it, with the same encoder."""
    made = place("remote", source, cluster.engine())
    made.run("ingest")
    made.run("transform")
    take_over_encoder(local, made)
    for stage in ("encode", "publish"):
        made.run(stage)
    return made


def test_two_hosts_write_the_same_shards(local, remote):
    assert contents(remote, "shards", "*.tfrecord") == contents(
        local, "shards", "*.tfrecord"
    )


def test_two_hosts_fit_the_same_transform_and_write_the_same_examples(local, remote):
    fitted = [one.manifest("transform")["wrote"] for one in (local, remote)]
    assert fitted[0] == fitted[1]
    assert contents(remote, "examples", "*.tfrecord") == contents(
        local, "examples", "*.tfrecord"
    )
    lists = [
        (one.own / "runs" / NIGHT_RUN / "examples.json").read_bytes()
        for one in (local, remote)
    ]
    assert lists[0] == lists[1]


def test_two_hosts_publish_the_same_tables(local, remote):
    assert images(remote) == images(local)
    same_features(remote, local)


def test_a_host_lost_in_ingest_and_in_encode_changes_no_row(
    place, source, cluster, local
):
    hurt = place("hurt", source, cluster.engine())

    stood = lose_a_host(cluster, hurt, "ingest", "shards")
    take_over_encoder(local, hurt)
    encoded = lose_a_host(cluster, hurt, "encode", "latents")
    hurt.run("publish")

    ingest, encode = hurt.manifest("ingest"), hurt.manifest("encode")
    assert stood <= ingest["counts"]["skipped"] < ingest["counts"]["chunks"]
    assert encoded <= encode["counts"]["skipped"] < encode["counts"]["shards"]
    assert images(hurt) == images(local)
    same_features(hurt, local)


def lose_a_host(cluster, place, stage, kind) -> int:
    """Run ``stage``, kill a task manager midway; return how much stood by then."""
    process = place.start(stage)
    until = time.monotonic() + PATIENCE_S
    while place.standing(kind) < BEGUN:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < until, "nothing was finished"
        time.sleep(0.01)
    cluster.kill("taskmanager-2")
    stood = place.standing(kind)
    flink_cluster.up(cluster.home)  # as Kubernetes would replace it
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said
    return stood


def take_over_encoder(of, to) -> None:
    for name in ("encoders", "transforms", "accepted.json"):
        found = of.own / name
        copy = shutil.copytree if found.is_dir() else shutil.copy
        if not (to.own / name).exists() or name != "transforms":
            copy(found, to.own / name)


def lake_of(place) -> Lake:
    return Lake(str(place.lake), "cifar")


def contents(place, kind, pattern) -> dict[str, bytes]:
    root = place.own / kind
    found = {str(p.relative_to(root)): p.read_bytes() for p in root.rglob(pattern)}
    assert len(found) > 100
    return found


def images(place) -> list[dict]:
    lake = lake_of(place)
    rows = tables.read_images(lake, tables.main_ids(lake).images).to_pylist()
    assert len(rows) == IMAGES
    return sorted(rows, key=lambda row: row["source_uri"])


def same_features(one, other) -> None:
    """Assert that two feature tables agree, in latents but for float noise."""
    found = []
    for place in (one, other):
        lake = lake_of(place)
        rows = tables.read_features(lake, tables.main_ids(lake).features)
        found.append(rows.sort_by("image_id"))
    floats = ["latent", "reconstruction_error"]
    assert found[0].num_rows > 9_900
    assert found[0].drop(floats).to_pylist() == found[1].drop(floats).to_pylist()
    for name in floats:
        left, right = (np.array(rows[name].to_pylist()) for rows in found)
        np.testing.assert_allclose(left, right, rtol=1e-3, atol=1e-4)
