import pytest
from latentlake_airflow import cron


@pytest.mark.parametrize(
    "expression",
    ["@daily", "30 2 * * *", "*/15 0-6,22 1,15 jan-mar MON-FRI", "0 0 * * 7"],
)
def test_a_cron_expression_that_airflow_takes_is_let_pass(expression):
    cron.check(expression)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("@nightly", "one of @hourly"),
        ("30 2 * *", "five fields"),
        ("30 24 * * *", "its hour, '24'"),
        ("*/0 2 * * *", "its minute"),
        ("5-1 2 * * *", "its minute"),
        ("0 2 * * someday", "its day of the week"),
        (7, "found 7"),
    ],
)
def test_a_wrong_cron_expression_says_what_is_allowed(expression, said):
    with pytest.raises(ValueError, match=r"schedule\.cron") as caught:
        cron.check(expression)

    assert said in str(caught.value)
