"""Workers show by small files that they are at work."""

from pipelines.engine import beats


def test_what_all_workers_did_is_added_up(tmp_path, monkeypatch):
    monkeypatch.setattr(beats, "BEAT_S", 0.0)
    for count in (2, 3):
        beat = beats.Beat(str(tmp_path))
        for _ in range(count):
            beat.add()

    assert beats.total(str(tmp_path)) == 5


def test_a_small_job_writes_none(tmp_path):
    beats.Beat(str(tmp_path)).add()

    assert list(tmp_path.iterdir()) == []
    assert beats.total(str(tmp_path / "none")) == 0
