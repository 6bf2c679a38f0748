import pytest

from pipelines.commands import release, rollback
from pipelines.errors import ConfigError, PublishHeld
from pipelines.lake import branches, pointer, tables
from pipelines.stages import publish

FIRST = {"/src/a": "cat", "/src/b": "dog"}


def ids(nights):
    return tables.main_ids(nights.lake)


def two_nights(nights):
    """Publish two nights and return the snapshots of the first."""
    publish.run(nights.night("2026-01-01", FIRST), [])
    first = ids(nights)
    publish.run(nights.night("2026-01-02", {"/src/c": "cow"}), [])
    return first


def test_rollback_moves_both_tables_to_the_night_before(nights):
    first = two_nights(nights)

    code = rollback.run(nights.lake.root, "digits")

    assert code == 0
    assert ids(nights) == first
    assert len(nights.rows("image_id")) == 2


def test_a_rolled_back_dataset_is_held_until_it_is_released(nights):
    two_nights(nights)
    rollback.run(nights.lake.root, "digits")
    run = nights.night("2026-01-03", {"/src/e": "emu"})
    with pytest.raises(PublishHeld):
        publish.run(run, [])

    release.run(nights.lake.root, "digits")
    publish.run(run, [])

    assert len(nights.rows("image_id")) == 3


def test_rollback_across_spaces_moves_the_accepted_encoder_too(nights):
    publish.run(nights.night("2026-01-01", FIRST), [])
    nights.accept("space-two")
    publish.run(nights.night("2026-01-02", {}), [])

    rollback.run(nights.lake.root, "digits")

    assert pointer.read(nights.lake).space_id == "space-one"
    assert {row["space_id"] for row in nights.rows("space_id")} == {"space-one"}


def test_a_snapshot_by_number_is_gone_back_and_forth_to(nights):
    first = two_nights(nights)
    second = ids(nights)

    rollback.run(nights.lake.root, "digits", to_snapshot=first.features)
    there = ids(nights)
    rollback.run(nights.lake.root, "digits", to_snapshot=second.features)

    assert there == first
    assert ids(nights) == second


def test_a_snapshot_that_was_never_published_is_refused(nights):
    two_nights(nights)

    with pytest.raises(ConfigError, match="12345: was never published"):
        rollback.run(nights.lake.root, "digits", to_snapshot=12345)


def test_a_rollback_cut_off_between_the_tables_is_finished_not_repeated(
    nights, monkeypatch
):
    first = two_nights(nights)
    put_back = branches.put_back

    def crash(lake, name, snapshot, hold):
        if name == "images":
            raise KeyboardInterrupt
        put_back(lake, name, snapshot, hold)

    with monkeypatch.context() as patched:
        patched.setattr(branches, "put_back", crash)
        with pytest.raises(KeyboardInterrupt):
            rollback.run(nights.lake.root, "digits")

    rollback.run(nights.lake.root, "digits")

    assert ids(nights) == first


def test_a_night_begun_before_a_rollback_does_not_bring_back_what_it_took(nights):
    two_nights(nights)
    begun = nights.night("2026-01-03", {"/src/e": "emu"})
    rollback.run(nights.lake.root, "digits")
    release.run(nights.lake.root, "digits")

    with pytest.raises(PublishHeld, match="Start a new run"):
        publish.run(begun, [])


def test_a_dataset_without_tables_is_named_and_nothing_is_made(tmp_path):
    for command in (rollback, release):
        with pytest.raises(ConfigError, match="'ghost' has no tables"):
            command.run(str(tmp_path / "mistyped"), "ghost")

    assert list(tmp_path.iterdir()) == []


def test_the_first_publish_can_be_taken_back_to_empty_tables(nights):
    publish.run(nights.night("2026-01-01", FIRST), [])

    rollback.run(nights.lake.root, "digits")

    assert nights.rows() == []
    assert nights.statuses() == {}
    with pytest.raises(ConfigError, match="nothing to go back to"):
        rollback.run(nights.lake.root, "digits")
