import contextlib
import dataclasses
import datetime
import hashlib
import signal
import subprocess
import sys

import pytest

from pipelines.errors import ArtifactMismatch, BadNight, GateRefused, PublishHeld
from pipelines.lake import branches, lease, manifest, pointer, tables
from pipelines.stages import publish

FIRST = {"/src/a": "cat", "/src/b": "cat", "/src/c": "dog", "/src/d": ""}


def digest(word):
    return hashlib.sha256(word.encode()).hexdigest()


def by_uri(nights, *columns):
    rows = nights.rows("source_uri", *columns)
    return {row["source_uri"]: row for row in rows}


def no_lease(lake, holder):
    return contextlib.nullcontext(lease.Lease(False, lambda: None))


def snapshots(nights):
    return tables.main_ids(nights.lake)


def properties(nights):
    return tables.snapshot_properties(nights.lake, "features")


def test_a_first_night_publishes_each_accepted_image_once(nights):
    run = nights.night("2026-01-01", FIRST)

    result = publish.run(run, [])

    assert nights.statuses() == {
        "/src/a": "accepted",
        "/src/b": "duplicate",
        "/src/c": "accepted",
        "/src/d": "rejected",
    }
    rows = by_uri(nights, "image_id", "latent", "space_id", "run_id")
    assert set(rows) == {"/src/a", "/src/c"}
    wanted = nights.latent(digest("dog"), "space-one")
    assert rows["/src/c"]["latent"] == pytest.approx(wanted)
    assert rows["/src/c"]["run_id"] == "2026-01-01-1"
    assert (result.counts["rows"], result.counts["entries"]) == (2, 4)
    assert result.wrote["features_snapshot"] == snapshots(nights).features


def test_a_publish_leaves_no_branch_and_says_who_it_was(nights):
    publish.run(nights.night("2026-01-01", FIRST), [])

    for name in tables.NAMES:
        assert set(tables.load(nights.lake, name).metadata.refs) == {"main"}
    found = properties(nights)
    assert found["latentlake.run_id"] == "2026-01-01-1"
    assert found["latentlake.space_id"] == "space-one"
    assert found["latentlake.images_snapshot"] == str(snapshots(nights).images)


@pytest.mark.parametrize(("images", "is_said"), [(29, False), (30, True)])
def test_drift_is_said_where_enough_new_images_show_it(nights, images, is_said):
    entries = {f"/src/{number}": f"word {number}" for number in range(images)}

    publish.run(nights.night("2026-01-01", entries), [])

    drift = properties(nights).get("latentlake.drift")
    assert (drift is not None) == is_said
    if is_said:
        assert float(drift) == pytest.approx(0.5)


def test_publishing_again_changes_nothing_and_says_so(nights):
    run = nights.night("2026-01-01", FIRST)
    publish.run(run, [])
    before = snapshots(nights)

    again = publish.run(run, [])

    assert again.skipped
    assert snapshots(nights) == before


def test_a_run_published_long_ago_does_not_undo_later_nights(nights):
    first = nights.night("2026-01-01", FIRST)
    publish.run(first, [])
    publish.run(nights.night("2026-01-02", {"/src/a": "cow"}), [])

    again = publish.run(first, [])

    assert again.skipped
    assert by_uri(nights, "image_id")["/src/a"]["image_id"] == digest("cow")


def test_an_entry_that_is_gone_takes_its_row_along(nights):
    publish.run(nights.night("2026-01-01", FIRST), [])

    result = publish.run(nights.night("2026-01-02", {}, gone=("/src/c",)), [])

    assert set(by_uri(nights)) == {"/src/a"}
    assert nights.statuses()["/src/c"] == "gone"
    assert result.counts["removed"] == 1


def test_the_next_entry_speaks_with_the_latent_of_the_image(nights):
    publish.run(nights.night("2026-01-01", FIRST), [])
    latent = by_uri(nights, "latent")["/src/a"]["latent"]

    publish.run(nights.night("2026-01-02", {}, gone=("/src/a",)), [])

    rows = by_uri(nights, "latent", "night")
    assert rows["/src/b"]["latent"] == latent
    assert rows["/src/b"]["night"] == datetime.date(2026, 1, 1)
    assert "/src/a" not in rows


def test_a_relabelled_image_gets_a_new_row_with_its_latent_copied(nights):
    publish.run(nights.night("2026-01-01", {"/src/a": "cat"}, label="x"), [])
    run = nights.begin("2026-01-02")
    nights.ingest(run, {"/src/a": "cat"}, label="y")  # and nothing is encoded
    publish.store.delete(nights.lake.own("latents"))

    publish.run(run, [])

    (row,) = nights.rows()
    assert (row["label"], row["run_id"]) == ("y", "2026-01-02-1")
    assert row["latent"] == pytest.approx(nights.latent(digest("cat"), "space-one"))


def test_two_publishes_from_one_base_lose_nothing(nights):
    one = nights.begin("2026-01-01", 1)
    two = nights.begin("2026-01-01", 2)
    nights.ingest(one, {"/src/a": "cat", "/src/b": "dog"})
    nights.ingest(two, {"/other/a": "cat", "/other/c": "cow"})
    nights.encode(one)

    publish.run(one, [])
    publish.run(two, [])

    ids = {row["image_id"] for row in nights.rows("image_id")}
    assert ids == {digest("cat"), digest("dog"), digest("cow")}
    assert sorted(nights.statuses().values()).count("duplicate") == 1


def test_two_runs_of_one_night_over_one_source_publish_once(nights):
    one = nights.begin("2026-01-01", 1)
    two = nights.begin("2026-01-01", 2)
    for run in (one, two):
        nights.ingest(run, FIRST)
    nights.encode(one)

    publish.run(one, [])
    second = publish.run(two, [])

    assert second.skipped
    assert properties(nights)["latentlake.run_id"] == one.run_id


def test_main_that_moves_while_a_draft_is_checked_is_built_upon(nights, monkeypatch):
    one = nights.begin("2026-01-01", 1)
    two = nights.begin("2026-01-01", 2)
    nights.ingest(one, {"/src/a": "cat"})
    nights.ingest(two, {"/other/c": "cow"})
    nights.encode(one)
    check = publish.checks.check_features

    def check_while_another_publishes(*arguments):
        monkeypatch.setattr(publish.checks, "check_features", check)
        with monkeypatch.context() as without_lease:
            without_lease.setattr(publish.lease, "hold", no_lease)
            publish.run(two, [])
        check(*arguments)

    monkeypatch.setattr(publish.checks, "check_features", check_while_another_publishes)
    publish.run(one, [])

    assert len(nights.rows("image_id")) == 2
    assert set(nights.statuses()) == {"/src/a", "/other/c"}


def test_a_crash_between_the_two_moves_is_made_good_by_the_same_run(
    nights, monkeypatch
):
    run = nights.night("2026-01-01", FIRST)
    _crash_between(run, monkeypatch)
    assert nights.rows("image_id") == []
    assert "/src/a" in nights.statuses()

    publish.run(run, [])

    assert len(nights.rows("image_id")) == 2


def test_a_crash_between_the_two_moves_is_made_good_by_a_later_run(nights, monkeypatch):
    _crash_between(nights.night("2026-01-01", FIRST), monkeypatch)

    publish.run(nights.night("2026-01-02", {"/src/e": "emu"}), [])

    assert len(nights.rows("image_id")) == 3
    assert properties(nights)["latentlake.images_snapshot"] == str(
        snapshots(nights).images
    )


def _crash_between(run, monkeypatch):
    move = branches.move

    def crash(lake, draft):
        if draft.name == "features":
            raise KeyboardInterrupt
        return move(lake, draft)

    with monkeypatch.context() as patched:
        patched.setattr(branches, "move", crash)
        with pytest.raises(KeyboardInterrupt):
            publish.run(run, [])


def test_a_new_space_replaces_the_old_one_whole(nights):
    publish.run(nights.night("2026-01-01", FIRST), [])
    nights.accept("space-two")
    before = snapshots(nights)

    publish.run(nights.night("2026-01-02", {"/src/e": "emu"}), [])

    assert {row["space_id"] for row in nights.rows("space_id")} == {"space-two"}
    assert len(nights.rows("image_id")) == 3
    old = tables.read_features(nights.lake, before.features, ["space_id"])
    assert old["space_id"].to_pylist() == ["space-one"] * 2


def test_readers_see_the_old_space_whole_until_main_moves(nights, monkeypatch):
    publish.run(nights.night("2026-01-01", FIRST), [])
    nights.accept("space-two")
    run = nights.night("2026-01-02", {})
    seen = []
    move = branches.move

    def look_then_move(lake, draft):
        seen.append([row["space_id"] for row in nights.rows("space_id")])
        return move(lake, draft)

    monkeypatch.setattr(branches, "move", look_then_move)
    publish.run(run, [])

    assert seen == [["space-one"] * 2]
    assert [row["space_id"] for row in nights.rows("space_id")] == ["space-two"] * 2


def test_a_night_of_a_new_space_with_a_latent_missing_is_refused(nights):
    publish.run(nights.night("2026-01-01", FIRST), [])
    nights.accept("space-two")
    before = snapshots(nights)

    with pytest.raises(ArtifactMismatch, match="lacks the latents of 2 images"):
        publish.run(nights.begin("2026-01-02"), [])

    assert snapshots(nights) == before


def test_a_run_whose_space_is_no_longer_accepted_is_told_to_begin_anew(nights):
    run = nights.night("2026-01-01", FIRST)
    wrote = {"wrote": {"space_id": "space-one"}}
    manifest.write(nights.lake, run.run_id, "encode", wrote)
    nights.accept("space-two")
    before = snapshots(nights)

    with pytest.raises(ArtifactMismatch, match="Start a new run") as refused:
        publish.run(run, [])

    assert "space-two was accepted" in str(refused.value)
    assert "--again" not in str(refused.value)
    assert snapshots(nights) == before


def test_what_a_killed_publish_left_is_swept_away_by_another_run(nights):
    killed = nights.night("2026-01-01", FIRST)
    assert start(killed, killed_at="images").wait() == -signal.SIGKILL
    assert len(tables.load(nights.lake, "images").metadata.refs) == 2

    publish.run(nights.night("2026-01-02", {"/src/e": "emu"}), [])

    for name in tables.NAMES:
        assert set(tables.load(nights.lake, name).metadata.refs) == {"main"}


def test_where_two_may_publish_at_once_a_young_branch_is_left_alone(nights):
    run = nights.night("2026-01-01", FIRST)
    base = snapshots(nights).images
    table = tables.load(nights.lake, "images")
    branch = branches.audit_branch(run.run_id)
    table.manage_snapshots().create_branch(base, branch).commit()

    branches.sweep(nights.lake, alone=False)
    assert branch in tables.load(nights.lake, "images").metadata.refs

    branches.sweep(nights.lake, alone=True)
    assert branch not in tables.load(nights.lake, "images").metadata.refs


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"latent": [1.0, float("nan"), 0.0, 1.0]}, BadNight, "NaN or infinity"),
        ({"latent": [0.0, 0.0, 0.0, 0.0]}, BadNight, "nothing but zeros"),
        ({"latent": [9e9, 0.0, 0.0, 1.0]}, BadNight, "longer than 200"),
        ({"latent": [1.0, 2.0]}, ArtifactMismatch, r"latents of \[2\] numbers"),
        ({"reconstruction_error": float("inf")}, BadNight, "reconstruction errors"),
    ],
)
def test_latents_that_cannot_be_trusted_move_neither_table(nights, wrong, error, words):
    run = nights.begin("2026-01-01")
    nights.ingest(run, FIRST)
    nights.encode(run, **wrong)
    before = snapshots(nights)

    with pytest.raises(error, match=words):
        publish.run(run, [])

    assert snapshots(nights) == before
    assert set(tables.load(nights.lake, "images").metadata.refs) == {"main"}


def test_dimensions_that_never_move_are_refused_in_a_large_night(nights):
    run = nights.begin("2026-01-01")
    nights.ingest(run, {f"/src/{number}": f"w{number}" for number in range(60)})
    nights.encode(run, latent=[1.0, 2.0, 3.0, 4.0])

    with pytest.raises(BadNight, match="4 of 4 dimensions are the same"):
        publish.run(run, [])


def test_without_an_accepted_encoder_nothing_is_published(nights):
    run = nights.begin("2026-01-01")
    nights.ingest(run, FIRST)
    publish.store.delete(nights.lake.accepted)

    with pytest.raises(GateRefused, match="no encoder was ever accepted"):
        publish.run(run, [])


def test_a_held_dataset_is_not_published_to(nights):
    run = nights.night("2026-01-01", FIRST)
    base = snapshots(nights)
    branches.put_back(nights.lake, "features", base.features, {"reason": "a test"})

    with pytest.raises(PublishHeld, match="latentlake release digits"):
        publish.run(run, [])

    assert snapshots(nights) == base


def test_a_dry_run_says_what_it_would_do_and_moves_nothing(nights):
    run = dataclasses.replace(nights.night("2026-01-01", FIRST), dry_run=True)
    before = snapshots(nights)

    result = publish.run(run, [])

    assert result.skipped
    assert "would add 2" in result.note
    assert snapshots(nights) == before


def test_many_small_nights_and_a_large_change_leave_every_row_in_place(nights):
    words = {f"/src/{number}": f"w{number}" for number in range(5)}
    for night, (uri, word) in enumerate(words.items(), start=1):
        publish.run(nights.night(f"2026-01-{night:02}", {uri: word}), [])

    publish.run(nights.night("2026-02-01", words, label="z"), [])

    rows = by_uri(nights, "label", "night", "latent", "image_id")
    assert {row["label"] for row in rows.values()} == {"z"}
    assert rows["/src/4"]["night"] == datetime.date(2026, 1, 5)
    for row in rows.values():
        wanted = nights.latent(row["image_id"], "space-one")
        assert row["latent"] == pytest.approx(wanted)


def test_the_pointer_is_left_alone_by_publish(nights):
    before = pointer.read(nights.lake)

    publish.run(nights.night("2026-01-01", FIRST), [])

    assert pointer.read(nights.lake) == before


PUBLISH = """
import os, signal, sys
from pipelines.lake import branches
from pipelines.lake import run as runs
from pipelines.lake.layout import Lake
from pipelines.stages import publish

root, run_id, killed_at = sys.argv[1:]
move = branches.move

def move_or_die(lake, draft):
    if draft.name == killed_at:
        os.kill(os.getpid(), signal.SIGKILL)
    return move(lake, draft)

branches.move = move_or_die
result = publish.run(runs.pinned(Lake(root, "digits"), run_id), [])
print("skipped" if result.skipped else "published")
"""


def start(run, killed_at="nothing"):
    command = [sys.executable, "-c", PUBLISH, run.lake.root, run.run_id, killed_at]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("table", tables.NAMES)
def test_a_publish_that_was_killed_leaves_no_trace_after_it_ran_again(nights, table):
    run = nights.night("2026-01-01", FIRST)
    assert start(run, killed_at=table).wait() == -signal.SIGKILL
    assert nights.rows("image_id") == []

    publish.run(run, [])

    assert set(by_uri(nights)) == {"/src/a", "/src/c"}
    for name in tables.NAMES:
        table_now = tables.load(nights.lake, name)
        assert set(table_now.metadata.refs) == {"main"}
        assert len(list(branches.lineage(table_now))) == 2


def test_two_processes_that_publish_one_run_at_once_publish_once(nights):
    run = nights.night("2026-01-01", FIRST)

    both = [start(run), start(run)]
    said = sorted(process.communicate()[0].strip() for process in both)

    assert said == ["published", "skipped"]
    assert len(nights.rows("image_id")) == 2
