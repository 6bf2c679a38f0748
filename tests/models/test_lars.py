import keras
import numpy as np
import pytest

from models.lars import LARS


@pytest.mark.parametrize("slope", [1e-3, 5.0])
def test_a_step_is_bounded_by_the_size_of_the_weights(slope):
    kernel = keras.Variable(np.full((3, 4), 0.5, np.float32))
    bias = keras.Variable(np.ones(4, np.float32))
    gradients = [np.full((3, 4), slope, np.float32), np.full(4, slope, np.float32)]
    optimizer = LARS(0.1, momentum=0.9, decay=0.01, trust=0.02)

    for _ in range(2):
        optimizer.apply([keras.ops.array(one) for one in gradients], [kernel, bias])

    weights, velocity = np.full((3, 4), 0.5), 0.0
    for _ in range(2):
        norm, steep = np.sqrt((weights**2).sum()), np.sqrt(12) * slope
        share = min(0.02 * norm / (steep + 0.01 * norm) / 0.1, 1)
        velocity = 0.9 * velocity - 0.1 * share * (slope + 0.01 * weights)
        weights = weights + velocity
    np.testing.assert_allclose(keras.ops.convert_to_numpy(kernel), weights, rtol=1e-5)
    plain = 1 - 0.1 * slope * (1 + 1.9)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(bias), plain, rtol=1e-5)


def test_its_settings_survive_being_kept():
    optimizer = LARS(0.2, momentum=0.8, decay=0.3, trust=0.4)

    again = LARS.from_config(optimizer.get_config())

    assert again.get_config() == optimizer.get_config()
    assert (again.decay, again.trust) == (0.3, 0.4)
