import numpy as np
import pytest
from PIL import Image

from pipelines import config
from pipelines.commands import check, init
from pipelines.errors import ConfigError

SHAPE = {"height": 32, "width": 32, "channels": 3}


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.setenv("LATENTLAKE_DATASETS", str(tmp_path / "datasets"))
    rng = np.random.default_rng(0)
    for label in ("finch", "wren"):
        folder = tmp_path / "My Photos" / label
        folder.mkdir(parents=True)
        for number in range(8):
            pixels = rng.integers(0, 255, (20, 24, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "My Photos"


def test_init_writes_settings_that_check_finds_good(photos, capsys):
    assert init.run(str(photos), name=None, given={"image": SHAPE}) == 0

    settings = config.load(config.find("my_photos"))
    assert settings.source.path == str(photos)
    assert settings.image.height == 32
    assert check.run("my_photos") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "16 entries" in said
    assert "2 labels" in said
    assert "10 of 10" in said


def test_check_says_what_is_wrong_with_each_image_it_tried(photos, capsys):
    for path in photos.rglob("*.png"):
        path.write_bytes(b"not a picture")
    init.run(str(photos), name="broken", given={"image": SHAPE})

    assert check.run("broken") == 4
    assert "not_an_image" in capsys.readouterr().out


def test_init_leaves_a_file_that_stands_alone(photos):
    init.run(str(photos), name="birds", given={"image": SHAPE})
    before = config.find("birds").read_text()

    with pytest.raises(ConfigError, match="stands already"):
        init.run(str(photos), name="birds", given={"image": SHAPE})

    assert config.find("birds").read_text() == before


def test_init_of_a_folder_that_is_missing_writes_nothing(photos):
    with pytest.raises(ConfigError, match="nowhere"):
        init.run(str(photos / "nowhere"), name="nowhere", given={"image": SHAPE})

    assert not config.find("nowhere").exists()
