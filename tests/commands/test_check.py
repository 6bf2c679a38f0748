import numpy as np
import pytest
from PIL import Image

from pipelines.commands import check


@pytest.fixture
def thirty(tmp_path):
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    for number in range(30):
        pixels = rng.integers(0, 255, (20, 24, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")
    return tmp_path


def write(folder, more=""):
    file = folder / "birds.toml"
    file.write_text(f'[source]\npath = "{folder}/photos"\n{more}')
    return str(file)


def test_check_warns_of_what_a_night_would_refuse_at_its_end(thirty, capsys):
    assert check.run(write(thirty)) == 0

    said = " ".join(capsys.readouterr().out.split())
    assert "about 27 training images, and train.min_images asks for 100" in said
    assert "about 3 images held out, and gate.min_images asks for 200" in said


def test_check_is_silent_where_small_is_meant(thirty, capsys):
    small = "[train]\nmin_images = 20\n[gate]\nallow_small = true\n"

    check.run(write(thirty, small))

    assert "Too few" not in capsys.readouterr().out
