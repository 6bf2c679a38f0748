import fsspec
import pytest

from pipelines.lake import store
from pipelines.stages.train_checkpoint import Kept

NAMES = ("history.json", "checkpoint.npz")


@pytest.fixture
def bucket(tmp_path):
    """Return a folder of a bucket."""
    yield f"memory://{tmp_path.name}/train"
    memory = fsspec.filesystem("memory")
    if memory.exists(f"/{tmp_path.name}"):
        memory.rm(f"/{tmp_path.name}", recursive=True)


def write(kept, content):
    for name in kept.names:
        with open(f"{kept.local}/{name}", "wb") as file:
            file.write(content)


def test_epochs_that_follow_at_once_share_a_checkpoint(bucket, tmp_path):
    kept = Kept(bucket, str(tmp_path), NAMES)
    kept.take_up()

    for number in range(3):
        write(kept, b"%d" % number)
        kept.put()
    first = store.read_bytes(f"{bucket}/checkpoint.npz")
    kept.put(now=True)

    assert first == b"0"
    assert store.read_bytes(f"{bucket}/checkpoint.npz") == b"2"
    assert store.names(bucket) == sorted(NAMES)


def test_another_machine_finds_what_the_first_one_left(bucket, tmp_path):
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
    first = Kept(bucket, str(tmp_path / "one"), NAMES)
    first.take_up()
    write(first, b"of epoch 1")
    first.put()

    second = Kept(bucket, str(tmp_path / "two"), NAMES)
    second.take_up()

    assert (tmp_path / "two" / "fit" / "checkpoint.npz").read_bytes() == b"of epoch 1"


def test_a_checkpoint_that_cannot_be_put_stops_no_training_but_the_last_does(
    bucket, tmp_path, caplog
):
    kept = Kept(bucket, str(tmp_path), NAMES)
    kept.take_up()  # and nothing is written where it says

    kept.put()

    assert "could not be put in the lake" in caplog.text
    with pytest.raises(OSError, match=r"history\.json"):
        kept.put(now=True)


def test_on_a_disk_nothing_is_copied(tmp_path):
    kept = Kept(str(tmp_path / "train"), str(tmp_path), NAMES)
    kept.take_up()
    kept.put(now=True)

    assert kept.local == str(tmp_path / "train")
    assert list(tmp_path.iterdir()) == []
