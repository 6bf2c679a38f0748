import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import config
from pipelines.commands import init, registry
from pipelines.errors import ConfigError

SHAPE = {"height": 32, "width": 32, "channels": 3}


@pytest.fixture
def datasets(tmp_path, monkeypatch):
    monkeypatch.setenv("LATENTLAKE_DATASETS", str(tmp_path / "datasets"))
    return tmp_path / "datasets"


@pytest.mark.parametrize("wrong", [{"height": 0}, {"channels": 2}, {"width": 4}])
def test_init_names_a_shape_that_cannot_be(datasets, tmp_path, wrong):
    with pytest.raises(ConfigError, match=rf"image\.{next(iter(wrong))}: found"):
        init.run(str(tmp_path), name="birds", given={"image": SHAPE | wrong})

    assert not datasets.exists()


def test_init_can_be_told_the_column_of_images(datasets, tmp_path):
    table = pa.table({"img": [b"x"], "label": ["cat"]})
    pq.write_table(table, tmp_path / "pets.parquet")

    with pytest.raises(ConfigError, match="--image-column"):
        registry.run("init", [str(tmp_path / "pets.parquet")])
    code = registry.run("init", [str(tmp_path / "pets.parquet"), "--image-column=img"])

    assert code == 0
    assert config.load(config.find("pets")).source.image_column == "img"


def test_init_can_be_told_the_preset(datasets, tmp_path):
    (tmp_path / "bird.png").write_bytes(b"looked at later")

    code = registry.run("init", [str(tmp_path), "--name=birds", "--preset=conv"])

    assert code == 0
    text = config.find("birds").read_text()
    assert 'preset = "conv"' in text
    assert "widths = [32, 64, 128]" in text


def test_init_names_the_presets_there_are(datasets, tmp_path):
    with pytest.raises(ConfigError, match=r"encoder\.preset: found 'fourier'.* conv"):
        registry.run("init", [str(tmp_path), "--name=birds", "--preset=fourier"])
