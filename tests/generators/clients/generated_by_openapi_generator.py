"""Uses the client that openapi-generator made. Arguments: URL, key, ids of a completed and a failed track."""

import sys

import generated_client as api
from generated_client.exceptions import NotFoundException

URL, KEY, COMPLETED, FAILED = sys.argv[1:]

with api.ApiClient(api.Configuration(host=URL, api_key={"APIKeyHeader": KEY})) as client:
    separations, jobs = api.SeparationsApi(client), api.JobsApi(client)
    request = api.SeparationRequest(search_query="by openapi-generator python", format="flac", stems=[api.Stem.VOCALS])
    asked = separations.create_separation(request)
    assert asked.status == "processing", asked
    again = separations.create_separation(api.SeparationRequest(search_query="a completed song"))
    assert (again.status, again.track_id) == ("completed", COMPLETED), again
    assert again.result.vocals_url.startswith("http")
    assert jobs.get_job(asked.track_id).status == "processing"
    assert jobs.get_job(COMPLETED).result.instrumental_url.startswith("http")
    failed = jobs.get_job(FAILED)
    assert (failed.status, failed.code) == ("failed", api.FailureCode.SOURCE_NOT_FOUND), failed
    assert COMPLETED in [job.track_id for job in jobs.list_jobs(limit=200).jobs]
    try:
        code = jobs.get_job("00000000-0000-5000-8000-000000000000").status
    except NotFoundException as error:
        code = error.data.code
    assert code == api.FailureCode.TRACK_NOT_FOUND, code
sys.stdout.write(asked.track_id)
