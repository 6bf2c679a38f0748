"""Long lists as files."""

import pyarrow as pa
import pytest

from pipelines.lake import ranges

ROWS = 2 * ranges.BATCH_ROWS + 10


@pytest.fixture
def path(tmp_path):
    place = str(tmp_path / "rows.arrow")
    numbers = pa.chunked_array([pa.array(range(7)), pa.array(range(7, ROWS))])
    ranges.write(place, pa.table({"number": numbers}))
    return place


@pytest.mark.parametrize(
    ("start", "stop"),
    [
        (0, 5),
        (3, ranges.BATCH_ROWS),
        (ranges.BATCH_ROWS, ranges.BATCH_ROWS + 1),
        (ranges.BATCH_ROWS - 1, 2 * ranges.BATCH_ROWS + 3),
        (ROWS - 1, ROWS),
        (9, 9),
    ],
)
def test_a_range_holds_exactly_its_rows(path, start, stop):
    rows = ranges.read(path, start, stop)

    assert rows["number"].to_pylist() == list(range(start, stop))


def test_the_whole_list_is_read_by_default(path):
    assert ranges.read(path).num_rows == ROWS


def test_a_list_in_a_bucket_is_read_by_ranges_too():
    place = "memory://bucket/rows.arrow"
    ranges.write(place, pa.table({"number": pa.array(range(ROWS))}))

    rows = ranges.read(place, ranges.BATCH_ROWS - 2, ranges.BATCH_ROWS + 2)

    first = ranges.BATCH_ROWS - 2
    assert rows["number"].to_pylist() == list(range(first, first + 4))


def test_an_empty_list_keeps_its_columns(tmp_path):
    place = str(tmp_path / "none.arrow")
    ranges.write(place, pa.table({"number": pa.array([], pa.int64())}))

    assert ranges.read(place).column_names == ["number"]
