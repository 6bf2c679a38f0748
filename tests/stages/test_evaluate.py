import dataclasses
import json

import numpy as np
import pytest

from models import pca
from pipelines.errors import ArtifactMismatch, GateRefused
from pipelines.lake import inventory, manifest, pointer, store
from pipelines.pages import keepsake
from pipelines.stages import evaluate, judging

GATE = {
    "primary": "psnr",
    "min_images": 20,
    "linear_margin": 100.0,
    "knn_margin": 100.0,
}


class Encoder:
    """A stand-in for a trained encoder: PCA of another size than it says."""

    latent_dim = 6

    def __init__(self, run, space_id, size, image_spec_id=None):
        self.space_id = space_id
        self.card = {"image_spec_id": image_spec_id or run.image_spec_id}
        fitted = judging.trained_on(run, inventory.corpus(run))
        self._fitted = pca.fit(fitted.batches, size)

    def encode(self, pixels):
        return self._fitted.encode(pixels)

    def encode_and_reconstruct(self, pixels):
        return self._fitted.encode_and_reconstruct(pixels)


@pytest.fixture
def night(staged, monkeypatch):
    """Return a function: a run whose candidate is the encoder named."""

    def begin(run_id, space_id, encoders, **gate):
        run = staged.run(run_id, gate=GATE | gate, split={"eval_fraction": 0.3})
        staged.ingest(run, {"2026-01-01": [150, 50]})
        value = {"status": "done", "wrote": {"space_id": space_id}}
        manifest.write(run.lake, run.run_id, "train", value)
        made = {name: Encoder(run, name, *how) for name, how in encoders.items()}
        monkeypatch.setattr(judging, "load", lambda run, name, work: made[name])
        return run

    return begin


def test_a_night_without_training_is_skipped(staged):
    run = staged.run()
    manifest.write(run.lake, run.run_id, "train", {"status": "skipped"})

    result = evaluate.run(run, [])

    assert result.skipped
    assert pointer.read(run.lake) is None


def test_a_candidate_that_beats_pca_is_accepted_with_its_error(night):
    run = night("2026-01-01-1", "good", {"good": (40,)})

    result = evaluate.run(run, [])

    accepted = pointer.read(run.lake)
    assert result.figures["verdict"] == "accepted"
    assert result.wrote["accepted"] == accepted.space_id == "good"
    assert accepted.eval_error == pytest.approx(result.figures["candidate"]["error"])
    assert [one["verdict"] for one in accepted.attempts] == ["accepted"]
    assert json.loads(json.dumps(result.figures)) == result.figures
    kept = keepsake.load(run.path(keepsake.NAME))
    assert len(kept.errors) == result.counts["held_out"]
    assert np.mean(kept.errors) == pytest.approx(accepted.eval_error, rel=1e-5)


def test_a_weak_candidate_is_refused_where_none_was_accepted(night):
    run = night("2026-01-01-1", "weak", {"weak": (2,)})

    with pytest.raises(GateRefused, match="not shown to beat PCA") as refused:
        evaluate.run(run, [])

    assert "What to do" in str(refused.value)
    assert pointer.read(run.lake) is None
    assert pointer.attempts(run.lake)[0]["verdict"] == "refused"
    assert store.exists(run.path(keepsake.NAME))


def test_a_weak_candidate_is_kept_out_where_one_stands(night):
    encoders = {"good": (40,), "weak": (2,)}
    evaluate.run(night("2026-01-01-1", "good", encoders), [])

    run = night("2026-01-02-1", "weak", encoders)
    result = evaluate.run(run, [])

    assert result.figures["verdict"] == "kept"
    assert result.note.startswith("KEPT")
    assert result.figures["accepted"]["psnr"] > result.figures["candidate"]["psnr"]
    assert pointer.read(run.lake).space_id == "good"


def test_a_candidate_worse_than_the_accepted_one_is_kept_out_though_it_beats_pca(night):
    encoders = {"good": (40,), "fair": (15,)}
    evaluate.run(night("2026-01-01-1", "good", encoders), [])

    result = evaluate.run(
        night("2026-01-02-1", "fair", encoders, accepted_margin=0.1), []
    )

    assert result.figures["verdict"] == "kept"
    assert len(result.figures["reasons"]) == 1
    assert "accepted encoder" in result.figures["reasons"][0]


def test_an_accepted_encoder_of_another_image_spec_cannot_serve(night):
    evaluate.run(night("2026-01-01-1", "good", {"good": (40,)}), [])
    encoders = {"good": (40, "another"), "weak": (2,)}

    with pytest.raises(GateRefused):
        evaluate.run(night("2026-01-02-1", "weak", encoders), [])


def test_a_damaged_accepted_encoder_gives_way_only_where_another_was_asked_for(
    night, monkeypatch
):
    evaluate.run(night("2026-01-01-1", "good", {"good": (40,)}), [])
    run = night("2026-01-02-1", "better", {"better": (60,)})
    intact = judging.load

    def load(run, name, work):
        if name == "good":
            raise ArtifactMismatch("good: is not the file that its card describes.")
        return intact(run, name, work)

    monkeypatch.setattr(judging, "load", load)

    with pytest.raises(ArtifactMismatch, match="good"):
        evaluate.run(run, [])
    result = evaluate.run(dataclasses.replace(run, retrain="always"), [])

    assert result.figures["verdict"] == "accepted"
    assert result.figures["accepted"] is None
    assert pointer.read(run.lake).space_id == "better"


def test_evaluating_again_changes_nothing(night, monkeypatch, content):
    run = night("2026-01-01-1", "good", {"good": (40,)})
    first = evaluate.run(run, [])
    before = content(run.lake.own())
    monkeypatch.setattr(judging, "judge", None)

    second = evaluate.run(run, [])

    assert second == first
    assert content(run.lake.own()) == before


def test_evaluating_an_old_run_again_does_not_undo_a_later_one(night):
    encoders = {"good": (40,), "better": (60,)}
    first = night("2026-01-01-1", "good", encoders)
    evaluate.run(first, [])
    evaluate.run(night("2026-01-02-1", "better", encoders), [])

    evaluate.run(first, [])

    assert pointer.read(first.lake).space_id == "better"


def test_a_kill_before_the_pointer_moves_is_made_good_by_a_rerun(night, monkeypatch):
    run = night("2026-01-01-1", "good", {"good": (40,)})
    real = pointer.accept
    monkeypatch.setattr(pointer, "accept", None)
    with pytest.raises(TypeError):
        evaluate.run(run, [])
    monkeypatch.setattr(pointer, "accept", real)

    result = evaluate.run(run, [])

    assert pointer.read(run.lake).space_id == "good"
    assert result.read["accepted"] is None


def test_few_held_out_images_are_refused_unless_that_is_allowed(night):
    run = night("2026-01-01-1", "good", {"good": (40,)}, min_images=5000)
    with pytest.raises(GateRefused, match="allow_small"):
        evaluate.run(run, [])

    allowed = night(
        "2026-01-02-1", "good", {"good": (40,)}, min_images=5000, allow_small=True
    )

    assert evaluate.run(allowed, []).figures["verdict"] == "accepted"
    assert evaluate.run(allowed, []).figures["intervals"]["pca"] == {}


def test_a_candidate_that_is_not_there_names_its_folder(staged):
    run = staged.ingest(staged.run(), {"2026-01-01": [60]})
    value = {"status": "done", "wrote": {"space_id": "lost"}}
    manifest.write(run.lake, run.run_id, "train", value)

    with pytest.raises(ArtifactMismatch, match="lost"):
        evaluate.run(run, [])
