"""The DAG in place of one whose settings cannot be read: it says why."""

import re
from typing import Any

from airflow.sdk import DAG, BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException

from latentlake_airflow.settings import Dataset

PAGE = """
# The settings of this dataset are broken

**{file}**

> {problem}

Mend what is named (the file, or a variable of Airflow's environment), and the nights
come back by themselves within a minute; nothing of what was published is touched
meanwhile. `latentlake check {name}` tries the file before a
night does. The other datasets are not disturbed.
"""


def notice(dataset: Dataset) -> DAG:
    """Return a DAG with the id of the dataset's nights that only shows its problem."""
    said = f"{dataset.file}: {dataset.problem}"
    name = re.sub(r"[^\w.-]", "_", dataset.name, flags=re.ASCII)
    with DAG(
        dag_id=f"nightly_{name}",
        dag_display_name=f"nightly_{name} (settings are broken)",
        description=said,
        doc_md=PAGE.format(
            file=dataset.file, problem=dataset.problem, name=dataset.name
        ),
        schedule=None,
        tags=["latentlake", "broken"],
    ) as dag:
        ShowProblem(task_id="settings", problem=said)
    return dag


class ShowProblem(BaseOperator):
    """Fails with the reason why there is no night."""

    def __init__(self, *, problem: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.problem = problem

    def execute(self, context: Context) -> None:
        """Fail, and say why."""
        raise AirflowFailException(self.problem)
