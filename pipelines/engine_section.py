"""The section ``[engine]`` of a dataset's settings: where the Beam stages run."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipelines.sections import Section

Seconds = Annotated[int, Field(ge=1)]


class EngineSettings(Section):
    """Where and how the Beam stages run."""

    runner: Literal["local", "flink"] = "local"
    """`local` is threads of this machine, `flink` a cluster of others."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Threads of the local runner; 0 takes the cores of this machine."""
    chunk_size: Annotated[int, Field(ge=16, le=65536)] = 1024
    """Entries in one chunk: one chunk in, one shard out."""
    master: str = ""
    """Flink: the job manager's web address, as in `http://flink:8081`."""
    job_server: str = ""
    """Flink: host and port of Beam's job server, as in `flink:8099`."""
    worker_pool: str = "localhost:50000"
    """Flink: where a task manager finds the Beam worker pool of its own host."""
    parallelism: Annotated[int, Field(ge=0)] = 0
    """Flink: how many slots a job takes; 0 takes all that the cluster has."""
    work: str = ""
    """A folder that every host sees; needed where the lake is a bucket (transform)."""
    check_limit_s: Seconds = 120
    """Flink: so long may every worker take to answer before a job is sent."""
    stall_limit_s: Seconds = 900
    """Flink: a job that did nothing for so long, also no file of its, is cancelled."""
    time_limit_s: Seconds = 86_400
    """Flink: a job that is not done by then is cancelled."""
    flags: tuple[str, ...] = ()
    """Flags of Beam for every job; those behind `--` win over them."""

    @model_validator(mode="after")
    def _flink_is_named(self) -> Self:
        for name in ("master", "job_server"):
            if self.runner == "flink" and not getattr(self, name):
                raise ValueError(
                    f'engine.{name} is empty, and engine.runner = "flink" needs it: '
                    "`make flink-up` starts a cluster on this machine and prints both"
                )
        return self
