import pytest

from pipelines.stages.training_progress import sentence


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (
            {"loss": 0.5, "val_loss": 0.25, "learning_rate": 1e-3},
            "epoch 2/5, loss 0.50000, held-out loss 0.25000, rate 0.001, 3.0 s",
        ),
        (
            {"loss": 0.5, "learning_rate": 0.1},
            "epoch 2/5, loss 0.50000, rate 0.1, 3.0 s",
        ),
        ({}, "epoch 2/5, 3.0 s"),
    ],
)
def test_an_epoch_is_told_by_what_its_record_has(record, said):
    assert sentence({"epoch": 2.0, "seconds": 3.0, **record}, 5) == said
