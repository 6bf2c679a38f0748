from pipelines.pages import curves


def names(chart):
    return [item.label.value for item in chart.legend.items]


def test_a_fit_in_closed_form_has_losses_and_no_learning_rate():
    record = {"epoch": 1, "loss": 0.5, "val_loss": 0.6, "seconds": 2.0}

    in_closed_form = curves.plot([record])
    by_gradient = curves.plot([{**record, "learning_rate": 1e-3}])

    assert names(in_closed_form) == ["training", "held out"]
    assert names(by_gradient) == ["training", "held out", "learning rate"]
