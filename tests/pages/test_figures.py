import math

from pipelines.pages import figures


def found(**changes):
    return {
        "verdict": "accepted",
        "primary": "linear",
        "checks": [
            {"name": "linear", "ok": True},
            {"name": "knn", "ok": False},
            {"name": "images", "ok": True},
        ],
        "candidate": {"linear": 93.0, "knn": 90.0, "psnr": 20.5, "dead_dims": 0},
        "pca": {"linear": 88.0, "knn": 92.0, "psnr": 20.3, "dead_dims": 1},
        "accepted": None,
        "intervals": {"pca": {"linear": [2.5, 7.5], "knn": [-4, 0.5]}, "accepted": {}},
    } | changes


def test_each_figure_has_a_row_with_its_mark():
    rows = figures.rows(found())

    assert [row.title for row in rows] == [
        "Linear probe",
        "k-NN, ten neighbours",
        "PSNR",
        "Dead dimensions",
    ]
    assert [row.mark for row in rows] == ["pass", "fail", "", ""]
    assert [row.primary for row in rows] == [True, False, False, False]
    assert rows[0].accepted == ""


def test_an_interval_is_drawn_about_the_zero_line_on_one_scale():
    linear, knn, *_ = figures.rows(found())

    assert linear.over_pca.zero == knn.over_pca.zero == 50.0
    assert linear.over_pca.high == 98.0
    assert linear.over_pca.low > 50.0 > knn.over_pca.low
    assert (linear.over_pca.good, knn.over_pca.good) == (True, False)
    assert knn.over_pca.words == "−2.0 (−4.0 to +0.5)"


def test_intervals_of_nothing_and_of_no_number_are_drawn_too():
    flat = found(intervals={"pca": {"linear": [0.0, 0.0]}, "accepted": {}})
    broken = found(intervals={"pca": {"linear": [math.nan] * 2}, "accepted": {}})

    assert figures.rows(flat)[0].over_pca.low == 50.0
    assert 0.0 <= figures.rows(broken)[0].over_pca.low <= 100.0


def test_the_accepted_encoder_is_a_column_of_its_own():
    both = found(
        accepted={"linear": 92.0},
        intervals={"pca": {}, "accepted": {"linear": [0.5, 1.5]}},
    )

    row = figures.rows(both)[0]

    assert row.accepted == "92.0"
    assert row.over_accepted.words == "+1.0 (+0.5 to +1.5)"
    assert row.over_pca is None
    assert row.candidate == "93.0"
