import pytest

from pipelines.config import SourceSettings
from pipelines.errors import BadNight, ConfigError
from pipelines.sources.registry import KINDS, detect, open_source


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["a/1.jpg", "a/2.jpg"], "folder"),
        (["a/1.jpg", "stray.csv", "stray.tar"], "folder"),
        (["notes.txt"], "folder"),
        (["0.tar", "1.tar", "README.md"], "tar"),
        (["list.csv"], "list"),
        (["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"], "idx"),
        (["data_batch_1.bin", "batches.meta.txt"], "cifar"),
        (["train.bin", "test.bin"], "cifar"),
    ],
)
def test_names_of_files_tell_the_kind(tmp_path, names, kind):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")

    assert detect(SourceSettings(path=str(tmp_path))) == kind


def test_two_kinds_of_container_must_be_told_apart_by_hand(tmp_path):
    (tmp_path / "a.tar").touch()
    (tmp_path / "b.csv").touch()

    with pytest.raises(ConfigError, match=r"list .*, tar .*source\.kind"):
        detect(SourceSettings(path=str(tmp_path)))


def test_a_file_whose_name_says_nothing_must_be_named_by_hand(tmp_path):
    (tmp_path / "data").touch()

    with pytest.raises(ConfigError, match=r"Give source\.kind"):
        detect(SourceSettings(path=str(tmp_path / "data")))


def test_nothing_there_is_said_so(tmp_path):
    with pytest.raises(BadNight, match="holds no files"):
        open_source(SourceSettings(path=str(tmp_path)))
    with pytest.raises(ConfigError, match="is not there"):
        open_source(SourceSettings(path=str(tmp_path / "nowhere")))


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"folder"}))
def test_a_folder_without_files_of_the_kind_is_a_bad_night(tmp_path, kind):
    (tmp_path / "notes.md").touch()

    with pytest.raises(BadNight, match=str(tmp_path)):
        list(open_source(SourceSettings(path=str(tmp_path), kind=kind)).list())
