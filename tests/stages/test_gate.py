import math

import pytest

from pipelines.config import GateSettings
from pipelines.stages import gate
from pipelines.stages.gate import Bounds, Evidence, Figures

GOOD = Figures(linear=93.0, knn=93.5, psnr=20.8)
PCA = Figures(linear=88.6, knn=92.6, psnr=20.3)
UNLABELLED_GOOD = Figures(psnr=24.0)
UNLABELLED_PCA = Figures(psnr=20.0)


def evidence(**changes):
    values = {
        "candidate": GOOD,
        "pca": PCA,
        "over_pca": {"linear": Bounds(2.8, 6.1)},
        "images": 1000,
        "labelled": 1000,
    }
    return Evidence(**{**values, **changes})


def unlabelled(low=3.5, **changes):
    return evidence(
        candidate=UNLABELLED_GOOD,
        pca=UNLABELLED_PCA,
        over_pca={"psnr": Bounds(low, 4.5)},
        labelled=0,
        **changes,
    )


def failed(verdict):
    return [(check.name, check.against) for check in verdict.checks if not check.ok]


def test_a_candidate_that_beats_pca_is_accepted_with_every_check_said():
    verdict = gate.judge(evidence(), GateSettings())

    assert verdict.verdict == "accepted"
    assert verdict.primary == "linear"
    assert [(c.name, c.against) for c in verdict.checks] == [
        ("images", ""),
        ("linear", "pca"),
        ("knn", "pca"),
        ("psnr", "pca"),
    ]
    assert "95 % interval +2.8 to +6.1, above 0." in verdict.reasons[1]


@pytest.mark.parametrize(
    ("changes", "settings", "expected"),
    [
        ({"over_pca": {"linear": Bounds(0.0, 3.0)}}, {}, [("linear", "pca")]),
        ({"over_pca": {"linear": Bounds(-0.4, 2.4)}}, {}, [("linear", "pca")]),
        ({"over_pca": {"linear": Bounds(0.1, 2.4)}}, {}, []),
        ({}, {"min_gain": 3.0}, [("linear", "pca")]),
        ({"candidate": GOOD._replace(knn=89.5)}, {}, [("knn", "pca")]),
        ({"candidate": GOOD._replace(knn=90.0)}, {}, []),
        ({"candidate": GOOD._replace(knn=85.0)}, {"knn_margin": 8.0}, []),
        ({"candidate": GOOD._replace(psnr=17.2)}, {}, [("psnr", "pca")]),
        ({"candidate": GOOD._replace(psnr=17.4)}, {}, []),
        ({"candidate": GOOD._replace(psnr=math.nan)}, {}, [("psnr", "pca")]),
        (
            {"over_pca": {"linear": Bounds(math.nan, math.nan)}},
            {},
            [("linear", "pca")],
        ),
        ({"images": 199, "labelled": 199}, {}, [("images", "")]),
        ({"labelled": 150}, {}, [("images", "")]),
        ({"images": 30, "labelled": 30, "over_pca": {}}, {"allow_small": True}, []),
        (
            {"images": 30, "over_pca": {}, "candidate": GOOD._replace(linear=88.0)},
            {"allow_small": True},
            [("linear", "pca")],
        ),
    ],
)
def test_each_limit_refuses_what_lies_beyond_it(changes, settings, expected):
    verdict = gate.judge(evidence(**changes), GateSettings(**settings))

    assert failed(verdict) == expected
    assert verdict.verdict == ("refused" if expected else "accepted")


@pytest.mark.parametrize(
    ("bounds", "margin", "expected"),
    [
        (Bounds(-0.9, 2.0), 1.0, "accepted"),
        (Bounds(-1.0, 2.0), 1.0, "kept"),
        (Bounds(-4.0, -1.5), 1.0, "kept"),
        (Bounds(-4.0, -1.5), 5.0, "accepted"),
    ],
)
def test_a_candidate_that_loses_to_the_accepted_encoder_is_kept_out(
    bounds, margin, expected
):
    verdict = gate.judge(
        evidence(
            accepted=GOOD._replace(linear=93.2),
            standing=True,
            over_accepted={"linear": bounds},
        ),
        GateSettings(accepted_margin=margin),
    )

    assert verdict.verdict == expected
    assert failed(verdict) == (
        [] if expected == "accepted" else [("linear", "accepted")]
    )


def test_a_failure_is_kept_only_where_an_accepted_encoder_can_serve():
    bad = {"over_pca": {"linear": Bounds(-1.0, 1.0)}}

    assert gate.judge(evidence(**bad), GateSettings()).verdict == "refused"
    assert gate.judge(evidence(**bad, standing=True), GateSettings()).verdict == "kept"


def test_every_reason_of_a_refusal_is_given():
    worst = evidence(
        candidate=Figures(linear=80.0, knn=70.0, psnr=10.0),
        over_pca={"linear": Bounds(-10.0, -7.0)},
        images=100,
        labelled=100,
    )

    verdict = gate.judge(worst, GateSettings())

    assert len(verdict.reasons) == 4
    assert all(reason.endswith(".") for reason in verdict.reasons)


def test_without_labels_psnr_decides():
    assert gate.judge(unlabelled(), GateSettings()).verdict == "accepted"
    assert gate.judge(unlabelled(), GateSettings()).primary == "psnr"
    assert gate.judge(unlabelled(low=-0.1), GateSettings()).verdict == "refused"


def test_where_psnr_is_primary_the_linear_probe_keeps_its_margin():
    weak = evidence(
        candidate=GOOD._replace(linear=85.0), over_pca={"psnr": Bounds(0.3, 0.7)}
    )

    verdict = gate.judge(weak, GateSettings(primary="psnr"))

    assert failed(verdict) == [("linear", "pca")]


def test_a_primary_figure_that_needs_labels_says_so_where_there_are_none():
    verdict = gate.judge(unlabelled(), GateSettings(primary="linear"))

    assert verdict.verdict == "refused"
    assert "gate.primary" in verdict.reasons[0]
