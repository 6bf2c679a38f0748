import numpy as np

from pipelines.pages import keepsake


def test_a_keepsake_comes_back_as_it_was_kept(tmp_path):
    values = {name: np.arange(3) for name in keepsake.Keepsake._fields}
    values["labels"] = np.array(["a", "", "<b>"])
    path = str(tmp_path / keepsake.NAME)

    keepsake.save(path, keepsake.Keepsake(**values))

    found = keepsake.load(path)
    for name, value in values.items():
        np.testing.assert_array_equal(getattr(found, name), value)


def test_a_missing_keepsake_is_none(tmp_path):
    assert keepsake.load(str(tmp_path / "none.npz")) is None
