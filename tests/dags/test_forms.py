import pytest
from airflow.sdk.exceptions import ParamValidationError
from latentlake_airflow import forms

from models.settings import PRESETS


def values(**given):
    form = forms.night_form("/images")
    return {name: param.value for name, param in form.items()} | given


def test_a_form_left_as_it_is_asks_for_nothing_but_the_calendar():
    assert forms.flags_of(values()) == ["--retrain", "auto"]


def test_every_filled_field_becomes_a_flag_of_the_first_stage():
    filled = values(
        source="/other; rm -rf /",
        retrain="always",
        preset="patch",
        epochs=3,
        latent_dim=32,
        dry_run=True,
    )

    assert forms.flags_of(filled) == [
        *("--source.path", "/other; rm -rf /"),
        *("--retrain", "always"),
        *("--encoder.preset", "patch"),
        *("--train.epochs", "3"),
        *("--encoder.latent-dim", "32"),
        "--dry-run",
    ]


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("night", "2026-13-01"),
        ("night", "yesterday"),
        ("source", ""),
        ("retrain", "sometimes"),
        ("preset", "fourier"),
        ("epochs", 0),
        ("epochs", "3"),
        ("latent_dim", 1),
        ("dry_run", "no"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_by_the_form(field, wrong):
    param = forms.night_form("/images")[field]

    with pytest.raises(ParamValidationError):
        param.resolve(wrong)


def test_the_keys_that_no_field_has_are_named():
    assert forms.unknown({"epoch": 3, "night": None}, values()) == ["epoch"]
    assert forms.unknown(None, values()) == []


def test_a_source_may_be_called_as_a_choice_of_the_encoder_is():
    flags = forms.flags_of(values(source=forms.OWN))

    assert flags == ["--source.path", "own", "--retrain", "auto"]


def test_the_form_offers_the_presets_there_are_and_the_datasets_own():
    field = forms.night_form("/images")["preset"]

    assert sorted(forms.PRESETS) == sorted(PRESETS)
    assert set(field.schema["enum"]) == {forms.OWN, *PRESETS}
    assert set(field.schema["values_display"]) == {forms.OWN, *PRESETS}
