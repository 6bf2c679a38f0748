"""Runs a stage on what a night published, and so on that night's run."""

from airflow.sdk import Context

from latentlake_airflow.operator import Place, StageOperator


class FollowOperator(StageOperator):
    """A stage of the run that an asset event names, or that was given by hand."""

    def place(self, context: Context) -> Place:
        """Return the run to follow; without a run id the stage takes the latest."""
        events = context["triggering_asset_events"].values()
        said = [one.extra.get("run_id") for group in events for one in group]
        named = [run_id for run_id in said if run_id]  # an event by hand names none
        given = context["params"].get("run_id")
        return super().place(context)._replace(run_id=given or max(named, default=None))
