"""What Beam's job server is asked, and told."""

import grpc  # type: ignore[import-untyped]  # it ships no types
from apache_beam.portability.api import beam_job_api_pb2 as api
from apache_beam.portability.api import beam_job_api_pb2_grpc

from pipelines.errors import LatentlakeError

FLAGS_S = 20.0
CANCEL_S = 4.0
IS_OVER = {
    api.JobState.DONE,
    api.JobState.FAILED,
    api.JobState.CANCELLED,
    api.JobState.UPDATED,
    api.JobState.DRAINED,
}


def flags(address: str) -> set[str]:
    """Return the flags that the job server at ``address`` knows.

    Raises:
        LatentlakeError: It does not answer.
    """
    with grpc.insecure_channel(address) as channel:
        server = beam_job_api_pb2_grpc.JobServiceStub(channel)
        request = api.DescribePipelineOptionsRequest()
        try:
            answer = server.DescribePipelineOptions(request, timeout=FLAGS_S)
        except grpc.RpcError as error:
            raise _unreached(address, error) from error
    return {one.name for one in answer.options}


def cancel(address: str, name: str) -> None:
    """Cancel the jobs called ``name``, also those that Flink has not got yet.

    Nothing is done where ``address`` is empty: the server of one job ends with it.

    Raises:
        LatentlakeError: It does not answer.
    """
    if not address:
        return
    with grpc.insecure_channel(address) as channel:
        server = beam_job_api_pb2_grpc.JobServiceStub(channel)
        try:
            found = server.GetJobs(api.GetJobsRequest(), timeout=CANCEL_S).job_info
            for one in found:
                if one.job_name == name and one.state not in IS_OVER:
                    request = api.CancelJobRequest(job_id=one.job_id)
                    server.Cancel(request, timeout=CANCEL_S)
        except grpc.RpcError as error:
            raise _unreached(address, error) from error


def _unreached(address: str, error: "grpc.RpcError") -> LatentlakeError:
    return LatentlakeError(
        f"engine.job_server {address}: Beam's job server does not answer "
        f"({error.code().name}). Start it (`make flink-up` on this machine), or mend "
        "the address; then run the same command again."
    )
