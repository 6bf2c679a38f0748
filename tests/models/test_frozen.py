import keras
import numpy as np
import pytest

from models import fit, frozen
from models.section import TrainSettings
from models.settings import ConvSettings
from models.spec import ImageShape
from models.task import Data, Task
from models.transform import sha256_of

SHAPE = ImageShape(8, 8, 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a model of 12 × 12 images, one with a Lambda, and one of
    a layer of somebody's own."""
    folder = tmp_path_factory.mktemp("frozen")
    images = keras.Input((12, 12, 1))
    maps = keras.layers.Conv2D(3, 3, activation="relu", name="edges")(images)
    mean = keras.layers.GlobalAveragePooling2D(name="mean")
    keras.Model(images, mean(maps)).save(folder / "sound.keras")
    keras.Model(images, keras.layers.Flatten()(maps)).save(folder / "other.keras")
    keras.Sequential([images, keras.layers.Lambda(lambda one: one + 1)]).save(
        folder / "lambda.keras"
    )

    @keras.saving.register_keras_serializable(package="stranger")
    class Own(keras.layers.Layer):
        def call(self, values):
            return values

    keras.Sequential([images, Own()]).save(folder / "strange.keras")
    (folder / "broken.keras").write_bytes(b"no archive")
    (folder / "model.h5").write_bytes(b"")
    return folder


def settings(folder, name="sound.keras", **others):
    return ConvSettings(
        perceptual=str(folder / name),
        **{f"perceptual_{key}": value for key, value in others.items()},
    )


def test_settings_are_pinned_to_the_digest_of_the_file(folder):
    pinned = frozen.pinned(settings(folder))

    digest = sha256_of(str(folder / "sound.keras"))
    assert pinned.perceptual_sha256 == digest
    assert frozen.digests(pinned) == {"sound.keras": digest}
    assert frozen.pinned(ConvSettings()) == ConvSettings()


@pytest.mark.parametrize(
    ("name", "others", "said"),
    [
        ("absent.keras", {}, "there is no such file"),
        ("model.h5", {}, "only .keras files"),
        ("sound.keras", {"sha256": "0" * 64}, "its SHA-256 is"),
        ("sound.keras", {"layer": "corners"}, "none of that name. It has: .*edges"),
        ("broken.keras", {}, "no model that can be loaded safely"),
        ("lambda.keras", {}, "no model that can be loaded safely"),
        ("strange.keras", {}, "layers come from stranger"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_by_what_is_wrong(
    folder, name, others, said
):
    with pytest.raises(ValueError, match=said):
        frozen.term(settings(folder, name, **others), SHAPE)


@pytest.mark.slow
def test_another_file_of_the_same_name_teaches_anew(folder, examples, tmp_path):
    path = tmp_path / "teacher.keras"

    def fitted(source):
        path.write_bytes((folder / source).read_bytes())
        task = Task(
            encoder=ConvSettings(latent_dim=4, widths=(4,), perceptual=str(path)),
            train=TrainSettings(epochs=1),
            data=Data(*examples),
            folder=str(tmp_path / "fit"),
        )
        return fit.fit(task)

    found = [fitted(one) for one in ("sound.keras", "sound.keras", "other.keras")]

    assert [one.trained.resumed_at for one in found] == [0, 1, 0]
    digest = sha256_of(str(folder / "other.keras"))
    assert found[-1].learned_from == {"teacher.keras": digest}


def test_a_model_of_other_channels_is_refused(folder):
    with pytest.raises(ValueError, match=r"takes \(None, 12, 12, 1\), and the images"):
        frozen.term(settings(folder), ImageShape(8, 8, 3))


def test_features_are_compared_in_shares_of_their_variance(folder):
    images = np.random.default_rng(0).normal(size=(2, 40, 8, 8, 1)).astype("float32")
    term = frozen.term(settings(folder, layer="edges", weight=2.0), SHAPE)

    def loss(painted):
        return float(term(images[0], painted))

    assert loss(images[0]) == 0.0
    assert not term.trainable_variables
    # Two draws of the same differ by twice their variance.
    assert 0.8 < loss(images[1]) / (2 * 2.0) < 1.2


def test_a_batch_of_one_image_has_no_variance_to_be_judged_by(folder):
    term = frozen.term(settings(folder), SHAPE)
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype(np.float32)

    assert float(term(images[:1], 0 * images[:1])) == 0
    assert float(term(images, 0 * images)) > 0
