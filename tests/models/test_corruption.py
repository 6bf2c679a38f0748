import numpy as np

from models.corruption import Corruption

IMAGES = np.ones((64, 10, 13, 2), np.float32)


def test_images_are_left_alone_outside_training():
    corruption = Corruption(noise=0.5, mask=0.5)

    found = np.asarray(corruption(IMAGES, training=False))

    np.testing.assert_array_equal(found, IMAGES)


def test_noise_has_the_deviation_that_was_asked_for_and_differs_each_time():
    corruption = Corruption(noise=0.5)

    first, second = (np.asarray(corruption(IMAGES, training=True)) for _ in range(2))

    assert abs(np.std(first) - 0.5) < 0.02
    assert abs(np.mean(first - 1)) < 0.02
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.05


def test_whole_blocks_are_hidden_in_all_channels():
    corruption = Corruption(mask=0.25)

    found = np.asarray(corruption(IMAGES, training=True))

    assert set(np.unique(found)) == {0.0, 1.0}
    for top in range(0, 10, 4):
        for left in range(0, 13, 4):
            block = found[:, top : top + 4, left : left + 4].reshape(64, -1)
            assert (block == block[:, :1]).all()
    assert abs((found == 0).mean() - 0.25) < 0.06
