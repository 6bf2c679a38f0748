import gzip
import struct

import numpy as np
import pytest

from pipelines.config import ImageSettings
from pipelines.errors import BadNight
from pipelines.media.image import canonicalise

GREY = np.arange(3 * 12 * 10, dtype=np.uint16).astype(np.uint8).reshape(3, 12, 10)


def idx(array):
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


def exact(data, pixels):
    height, width, *channels = pixels.shape
    spec = ImageSettings(
        height=height, width=width, channels=channels[0] if channels else 1
    )
    result = canonicalise(data, spec)
    return np.array_equal(result.pixels.reshape(pixels.shape), pixels)


@pytest.mark.parametrize("packed", [True, False])
def test_idx_images_come_with_labels_and_split(tmp_path, source, contents, packed):
    pack, end = (gzip.compress, ".gz") if packed else (bytes, "")
    for part in ("train", "t10k"):
        images, labels = (f"{part}-{name}{end}" for name in
                          ("images-idx3-ubyte", "labels-idx1-ubyte"))  # fmt: skip
        (tmp_path / images).write_bytes(pack(idx(GREY)))
        (tmp_path / labels).write_bytes(pack(idx(np.array([7, 0, 9], np.uint8))))

    found = list(contents(source(tmp_path)).values())

    assert [one.label for one, _ in found] == ["7", "0", "9"] * 2
    assert [one.split for one, _ in found] == ["eval"] * 3 + ["train"] * 3
    assert all(exact(data, GREY[at % 3]) for at, (_, data) in enumerate(found))


def test_idx_of_four_sides_is_rgb(tmp_path, source, contents):
    colour = np.random.default_rng(0).integers(0, 256, (2, 9, 8, 3), np.uint8)
    (tmp_path / "train-images-idx4-ubyte").write_bytes(idx(colour))

    found = list(contents(source(tmp_path)).values())

    assert [one.label for one, _ in found] == [None, None]
    assert all(exact(data, colour[at]) for at, (_, data) in enumerate(found))


@pytest.mark.parametrize(
    "content",
    [
        idx(GREY)[:-1],
        b"\0\0\x0d\x03" + bytes(12),
        gzip.compress(idx(GREY))[:-9],
        gzip.compress(b"\0\0\x08\x03" + b"\xff" * 12),
        b"",
    ],
)
def test_an_idx_file_that_is_not_whole_is_a_bad_night(tmp_path, source, content):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)

    with pytest.raises(BadNight, match="train-images"):
        list(source(tmp_path).list())


def test_labels_that_do_not_fit_the_images_are_a_bad_night(tmp_path, source):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(GREY))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(2, np.uint8)))

    with pytest.raises(BadNight, match="3 images, but 2 labels"):
        list(source(tmp_path).list())


def records(pictures, *labels):
    planes = pictures.transpose(0, 3, 1, 2).reshape(len(pictures), -1)
    columns = [np.asarray(column, np.uint8)[:, None] for column in labels]
    return np.hstack([*columns, planes]).tobytes()


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)


def test_cifar_10_has_names_and_split(tmp_path, source, contents, pictures):
    for name in ("data_batch_1.bin", "test_batch.bin"):
        (tmp_path / name).write_bytes(records(pictures, [0, 1, 2]))
    (tmp_path / "batches.meta.txt").write_text("airplane\nbird\n\n")

    found = list(contents(source(tmp_path)).values())

    assert [one.label for one, _ in found] == ["airplane", "bird", "2"] * 2
    assert [one.split for one, _ in found] == ["train"] * 3 + ["eval"] * 3
    assert all(exact(data, pictures[at % 3]) for at, (_, data) in enumerate(found))


def test_of_cifar_100_the_fine_label_counts(tmp_path, source, contents, pictures):
    (tmp_path / "train.bin").write_bytes(records(pictures, [9, 9, 9], [0, 1, 2]))
    (tmp_path / "fine_label_names.txt").write_text("apple\npear\nplum\n")

    found = list(contents(source(tmp_path)).values())

    assert [one.label for one, _ in found] == ["apple", "pear", "plum"]
    assert all(exact(data, pictures[at]) for at, (_, data) in enumerate(found))


def test_a_cifar_batch_that_is_not_whole_is_a_bad_night(tmp_path, source, pictures):
    content = records(pictures, [0, 1, 2])[:-5]
    (tmp_path / "data_batch_1.bin").write_bytes(content)

    with pytest.raises(BadNight, match="data_batch_1"):
        list(source(tmp_path).list())
