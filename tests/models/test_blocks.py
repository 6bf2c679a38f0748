import keras
import numpy as np

from models import blocks

MAPS = np.random.default_rng(0).normal(size=(3, 4, 4, 8)).astype(np.float32)


def built(count):
    maps = keras.Input((4, 4, 8))
    return keras.Model(maps, blocks.transformer(maps, count))


def test_no_blocks_leave_the_maps_as_they_are():
    maps = keras.Input((4, 4, 8))

    assert blocks.transformer(maps, 0) is maps


def test_what_stands_in_one_corner_is_seen_in_the_other():
    changed = MAPS.copy()
    changed[:, 0, 0, :4] += 1.0
    model = built(1)

    before, after = (model.predict_on_batch(one) for one in (MAPS, changed))

    assert np.abs(after - before)[:, 3, 3].max() > 1e-4


def test_places_are_told_apart():
    model = built(1)
    same = np.broadcast_to(MAPS[:, :1, :1], MAPS.shape)

    found = model.predict_on_batch(same)

    assert np.ptp(found.reshape(3, 16, 8), axis=1).max() > 1e-3
