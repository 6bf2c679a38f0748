import numpy as np
import pytest

from models.presets import vit
from models.settings import VitSettings
from models.spec import ImageShape

SETTINGS = VitSettings(
    patch=4, width=8, depth=1, heads=2, decoder_depth=1, decoder_width=6
)
SHAPE = ImageShape(13, 16, 3)  # a row of pixels is left over


def images(count=5):
    return np.random.default_rng(0).normal(size=(count, *SHAPE)).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    parts = vit.build(SHAPE, SETTINGS, "float32")
    return vit.Masked(parts, SETTINGS, "float32", 0)


def test_patches_are_cut_row_by_row():
    rows = images()

    found = np.asarray(vit.patches(rows, 4))

    assert found.shape == (5, 12, 48)
    np.testing.assert_array_equal(found[2, 5], rows[2, 4:8, 4:8].reshape(-1))


def test_the_share_of_patches_that_is_asked_for_is_hidden(model):
    _, hidden = model(images())

    hidden = np.asarray(hidden)
    assert (hidden.sum(axis=1) == 9).all()
    assert np.ptp(hidden, axis=0).max() == 1


def test_only_hidden_patches_cost_anything(model):
    rows = images()
    hidden = np.zeros((5, 12), np.float32)
    hidden[:, 3] = 1
    wanted = np.asarray(vit.patches(rows, 4))
    wanted = wanted - wanted.mean(axis=-1, keepdims=True)
    wanted = wanted / wanted.std(axis=-1, keepdims=True)
    painted = np.full_like(wanted, 100.0)
    painted[:, 3] = wanted[:, 3] + 2

    loss = model.compute_loss(x=rows, y_pred=(painted, hidden))

    np.testing.assert_allclose(float(loss), 4, rtol=1e-3)


def test_tokens_that_were_seen_come_back_to_their_places():
    layer = vit.Placed(4)
    layer.build((None, 2, 3))
    layer.missing.assign(np.full((1, 1, 3), -1.0))
    codes = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    places = np.array([[1, 2, 0, 3], [2, 3, 1, 0]])

    found = np.asarray(layer(codes, places))

    none = [-1.0] * 3
    first, second = codes.tolist()
    assert found[0].tolist() == [first[1], none, first[0], none]
    assert found[1].tolist() == [none, none, second[1], second[0]]


def test_what_is_hidden_does_not_reach_the_encoder(model):
    rows = images(1)
    before = model.compare.output_shape

    seen = model.embed(rows)[:, : model.kept]

    assert model.kept == 3
    assert model.compare(seen).shape == (1, 3, before[-1])
