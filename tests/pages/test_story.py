import pytest

from pipelines.pages import story
from pipelines.pages.story import Facts

DONE = {"status": "done", "exit_code": 0}
COST = {"cost": {"wall_s": 2.0, "cpu_s": 1.0, "peak_mib": 100.0}}


def facts(**manifests):
    return Facts("birds", "2026-01-02", "2026-01-02-1", "/my lake", manifests)


def failed(error, code=1):
    return {"status": "failed", "exit_code": code, "error": error}


@pytest.mark.parametrize(
    ("manifests", "tone", "words"),
    [
        ({"publish": DONE | {"counts": {"rows": 1234}}}, "good", "1,234 images"),
        ({"publish": {"status": "skipped"}}, "calm", "Nothing is new"),
        ({"ingest": failed("broken", 4)}, "bad", "Ingest failed, and nothing"),
        ({"publish": DONE, "classify": failed("?")}, "good", "The tables are"),
        ({"ingest": DONE, "transform": DONE}, "warn", "stopped after transform"),
        ({}, "warn", "before its first stage"),
        (
            {"evaluate": DONE | {"figures": {"verdict": "kept"}}, "publish": DONE},
            "warn",
            "did not pass the gate",
        ),
        (
            {
                "evaluate": DONE | {"figures": {"verdict": "accepted"}},
                "publish": DONE | {"counts": {"rows": 5}},
            },
            "good",
            "a new encoder passed the gate.",
        ),
        (
            {
                "evaluate": DONE | {"figures": {"verdict": "kept"}},
                "publish": {"status": "skipped"},
            },
            "warn",
            "kept out by the gate",
        ),
    ],
)
def test_the_headline_says_the_night_in_one_sentence(manifests, tone, words):
    found = story.headline(facts(**manifests))

    assert found.tone == tone
    assert words in found.sentence
    assert found.sentence.endswith(".")


def test_a_failure_says_what_to_do_and_quotes_the_command():
    (found,) = story.failures(facts(evaluate=failed("refused: too weak", 3)))

    assert found.error == "refused: too weak"
    assert "trained otherwise" in found.means
    assert found.command == (
        "latentlake evaluate birds --lake '/my lake' --run-id 2026-01-02-1"
    )


def test_shares_add_up_to_all_that_was_listed():
    counts = {"new": 6, "changed": 1, "known": 13, "accepted": 5, "rejected": 2}
    listed, became = story.numbers(facts(ingest=DONE | {"counts": counts}))

    assert [one.value for one in listed] == [6, 1, 13]
    assert sum(one.share for one in listed) == pytest.approx(1.0)
    assert [one.name for one in became] == ["accepted", "rejected"]


def test_the_dearest_stage_has_the_longest_bar():
    cheap = {"cost": {"wall_s": 0.5, "cpu_s": 0.5, "peak_mib": 400.0}}

    lines = story.stage_lines(facts(ingest=DONE | COST, publish=DONE | cheap))

    assert [line.name for line in lines] == ["ingest", "publish"]
    assert [line.wall_share for line in lines] == [1.0, 0.25]
    assert [line.peak_share for line in lines] == [0.25, 1.0]


def test_the_rate_of_training_counts_every_epoch():
    manifest = DONE | {"counts": {"train": 400, "epochs": 5}, "figures": {"seconds": 2}}

    (line,) = story.stage_lines(facts(train=manifest))

    assert line.rate == 1000.0
