import tomllib

import pytest

from pipelines import config
from pipelines.commands.init import name_from, render
from pipelines.errors import ConfigError


def write(tmp_path, text):
    file = tmp_path / "birds.toml"
    file.write_text(text)
    return file


def test_settings_have_defaults_for_all_but_the_source(tmp_path):
    file = write(tmp_path, '[source]\npath = "photos"\n')

    settings = config.load(file)

    assert settings.source.path == "photos"
    assert settings.image == config.ImageSettings()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[source]\n", ["source.path", "missing"]),
        ('[source]\npath="a"\n[train]\nepocs=3\n', ["train.epocs", "no such setting"]),
        ('[source]\npath="a"\n[train]\nepochs=0\n', ["train.epochs", "found 0", "1"]),
        ('[source]\npath="a"\n[image]\nfit="zoom"\n', ["image.fit", "zoom", "cover"]),
        ('[source]\npath="a"\n[image]\nheight=8\n', ["encoder.widths", "image has 8"]),
        ("[source\n", ["not valid TOML", "line 1"]),
        (
            '[source]\npath="a"\n[schedule]\ntimezone="Mars"\n',
            ["schedule.timezone", "Mars", "Europe/Berlin"],
        ),
    ],
)
def test_a_wrong_setting_is_named_with_its_file_and_what_was_found(
    tmp_path, text, parts
):
    file = write(tmp_path, text)

    with pytest.raises(ConfigError) as raised:
        config.load(file)

    message = str(raised.value)
    assert str(file) in message
    for part in parts:
        assert part in message


def test_a_missing_file_says_how_to_write_one(tmp_path):
    with pytest.raises(ConfigError, match="latentlake init"):
        config.load(tmp_path / "none.toml")


@pytest.mark.parametrize("name", ["Birds", "1birds", "birds/..", "", "../x", "a-b"])
def test_a_dataset_name_is_a_plain_word(name):
    with pytest.raises(ConfigError):
        config.check_name(name)


def test_a_changed_image_setting_changes_the_image_spec():
    plain, other = config.ImageSettings(), config.ImageSettings(height=32)

    assert config.image_spec_id(plain) == config.image_spec_id(config.ImageSettings())
    assert config.image_spec_id(plain) != config.image_spec_id(other)


def test_init_explains_every_setting_and_loads_again():
    settings = config.Settings(source=config.SourceSettings(path='a "b"\\c'))

    text = render("birds", settings)

    assert config.parse(tomllib.loads(text), origin="text") == settings
    for name, field in config.Settings.model_fields.items():
        assert f"[{name}]" in text
        for key, inner in type(getattr(settings, name)).model_fields.items():
            assert inner.description, f"{name}.{key} is not explained"
            assert f"{key} = " in text
        assert field.description


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("/data/My Photos/", "my_photos"),
        ("s3://b/2024-birds.tar", "dataset_2024_birds"),
        ("x/list.csv", "list"),
    ],
)
def test_a_dataset_is_named_after_its_folder(folder, name):
    assert name_from(folder) == name
