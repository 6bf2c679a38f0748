import pytest

from pipelines.pages import curves


def names(chart):
    return [item.label.value for item in chart.legend.items]


def test_a_fit_in_closed_form_has_losses_and_no_learning_rate():
    record = {"epoch": 1, "loss": 0.5, "val_loss": 0.6, "seconds": 2.0}

    in_closed_form = curves.plot([record])
    by_gradient = curves.plot([{**record, "learning_rate": 1e-3}])

    assert names(in_closed_form) == ["training", "held out"]
    assert names(by_gradient) == ["training", "held out", "learning rate"]


def rates_marked(rates):
    history = [
        {"epoch": at + 1, "loss": 0.5, "learning_rate": rate}
        for at, rate in enumerate(rates)
    ]
    chart = curves.plot(history)
    (axis,) = [one for one in chart.right if one.axis_label == "learning rate"]
    return list(axis.ticker.ticks), chart.extra_y_ranges["rate"]


def test_every_rate_is_written_where_they_are_few():
    marked, _ = rates_marked([4e-3, 4e-3, 2e-3, 1e-3])

    assert marked == [1e-3, 2e-3, 4e-3]


def test_of_a_plan_that_ends_at_nothing_the_highest_and_decades_are_written():
    marked, shown = rates_marked([3e-3, 2.9e-3, 2e-3, 1e-3, 5e-4, 1e-5, 1e-9])

    assert marked == pytest.approx([3e-6, 3e-5, 3e-4, 3e-3])
    assert 1e-6 < shown.start < 3e-6
