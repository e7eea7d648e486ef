"""Uses the client that openapi-python-client made. Arguments: URL, key, ids of a completed and a failed track."""

import sys

from generated_client import AuthenticatedClient
from generated_client.api.jobs import get_job, list_jobs
from generated_client.api.separations import create_separation
from generated_client.models import (
    FailureCode,
    Job,
    JobStatus,
    Problem,
    Separation,
    SeparationRequest,
    SeparationRequestFormat,
    SeparationStatus,
    Stem,
)

URL, KEY, COMPLETED, FAILED = sys.argv[1:]


def state(track: str) -> Job:
    found = get_job.sync(track, client=client)
    assert isinstance(found, Job), found
    return found


def ask(request: SeparationRequest) -> Separation:
    answer = create_separation.sync(client=client, body=request)
    assert isinstance(answer, Separation), answer
    return answer


client = AuthenticatedClient(base_url=URL, token=KEY, prefix="", auth_header_name="X-API-Key")
asked = ask(
    SeparationRequest(
        search_query="by openapi-python-client", format_=SeparationRequestFormat.FLAC, stems=[Stem.VOCALS]
    )
)
assert asked.status is SeparationStatus.PROCESSING, asked
again = ask(SeparationRequest(search_query="a completed song"))
assert (again.status, again.track_id) == (SeparationStatus.COMPLETED, COMPLETED), again
assert again.result.vocals_url.startswith("http")
assert state(asked.track_id).status is JobStatus.PROCESSING
assert state(COMPLETED).result.instrumental_url.startswith("http")
failed = state(FAILED)
assert (failed.status, failed.code) == (JobStatus.FAILED, FailureCode.SOURCE_NOT_FOUND), failed
assert COMPLETED in [job.track_id for job in list_jobs.sync(client=client, limit=200).jobs]
unknown = get_job.sync("00000000-0000-5000-8000-000000000000", client=client)
assert isinstance(unknown, Problem), unknown
assert unknown.code is FailureCode.TRACK_NOT_FOUND
sys.stdout.write(asked.track_id)
