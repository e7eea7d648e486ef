"""An operator written as in kopf's documentation, for comparison: `on.create`, `on.delete`, `on.event`.

It creates the same two Jobs, reads and checks the same commit marks, mirrors to Redis and produces the same result. It
handles no errors: no retries, no limits, no cancellation, no leader election. kopf's settings are the defaults. It uses
the asynchronous Kubernetes client, and boto3 in threads for the store, both as documented. With `IDIOMATIC_STORE=lent`
it uses Stemyard's store client instead of boto3.
"""

import asyncio
import json
import os
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import boto3
import kopf
from botocore.config import Config
from kubernetes.aio import client, config
from kubernetes.aio.client.rest import ApiException
from redis.asyncio import Redis

from stemyard_contract.handover import Manifest, MarkReference, SourceMark, WorkStage, parse_outcome
from stemyard_contract.separationjob import GROUP, LABEL_MANAGED_BY, LABEL_STAGE, MANAGED_BY, PLURAL, VERSION
from stemyard_operator.clients.s3 import ObjectStoreClient
from stemyard_operator.config.settings import Settings, load_settings
from stemyard_operator.decision.artifacts import prefix_of
from stemyard_operator.decision.status import result_of
from stemyard_operator.jobs.manifest import build_job
from stemyard_operator.model.observed import FoundManifest
from stemyard_operator.model.separation import separation_of

STATE = SimpleNamespace()
CONTROLLER_UID = "batch.kubernetes.io/controller-uid"


class Store:
    """The bucket through boto3, whose client is thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._bucket = settings.r2_bucket
        self._client = boto3.client(
            "s3",
            endpoint_url=settings.endpoint_url,
            region_name=settings.s3_region,
            aws_access_key_id=settings.r2_access_key_id,
            aws_secret_access_key=settings.r2_secret_access_key,
            config=Config(s3={"addressing_style": "path"}, max_pool_connections=32),
        )

    async def get(self, key: str, _limit: int) -> bytes:
        response = await asyncio.to_thread(self._client.get_object, Bucket=self._bucket, Key=key)
        return await asyncio.to_thread(response["Body"].read)

    async def size(self, key: str) -> int:
        response = await asyncio.to_thread(self._client.head_object, Bucket=self._bucket, Key=key)
        return response["ContentLength"]

    async def remove(self, prefix: str) -> None:
        listed = await asyncio.to_thread(self._client.list_objects_v2, Bucket=self._bucket, Prefix=prefix)
        keys = [{"Key": one["Key"]} for one in listed.get("Contents", [])]
        if keys:
            await asyncio.to_thread(self._client.delete_objects, Bucket=self._bucket, Delete={"Objects": keys})


@kopf.on.startup()
async def start(**_: Any) -> None:
    await config.load_kube_config(os.environ["KUBECONFIG"])
    STATE.settings = load_settings()
    STATE.objects = (
        ObjectStoreClient(STATE.settings) if os.environ.get("IDIOMATIC_STORE") == "lent" else Store(STATE.settings)
    )
    STATE.redis = Redis.from_url(STATE.settings.redis_url)
    STATE.jobs, STATE.pods, STATE.custom = client.BatchV1Api(), client.CoreV1Api(), client.CustomObjectsApi()
    STATE.started, STATE.done = set(), set()


@kopf.on.create(GROUP, VERSION, PLURAL)
async def created(body: kopf.Body, patch: kopf.Patch, namespace: str, **_: Any) -> None:
    separation = separation_of(body, STATE.settings.api_namespace)
    job = build_job(separation, WorkStage.FETCH, 1, STATE.settings)
    await make(namespace, job.manifest)
    patch.status.update(phase="Fetching", progress=0, stage="fetch", job=job.name, trackId=separation.track_id)
    await mirror(separation.track_id, "Fetching")


@kopf.on.delete(GROUP, VERSION, PLURAL)
async def deleted(body: kopf.Body, **_: Any) -> None:
    separation = separation_of(body, STATE.settings.api_namespace)
    if separation.status.result is not None:
        await STATE.objects.remove(prefix_of(separation.status.result.manifest_key))
    await STATE.redis.delete(f"idiomatic:{separation.track_id}")


@kopf.on.event("batch", "v1", "jobs", labels={LABEL_MANAGED_BY: MANAGED_BY})
async def job_changed(event: dict[str, Any], body: kopf.Body, namespace: str, **_: Any) -> None:
    if event["type"] == "DELETED":
        return
    uid, stage = body["metadata"]["uid"], body["metadata"]["labels"][LABEL_STAGE]
    owner, status = body["metadata"]["ownerReferences"][0]["name"], body.get("status", {})
    ended = any(one["type"] == "Complete" and one["status"] == "True" for one in status.get("conditions", []))
    if stage == "separate" and status.get("ready") and uid not in STATE.started:
        STATE.started.add(uid)
        await write(namespace, owner, {"phase": "Separating"})
    if ended and uid not in STATE.done:
        STATE.done.add(uid)
        reference = await mark_of_pod(namespace, uid)
        if stage == "fetch":
            await fetched(namespace, owner, reference)
        else:
            await separated(namespace, owner, reference)


async def fetched(namespace: str, name: str, reference: MarkReference) -> None:
    mark = SourceMark.model_validate_json(await stored(reference.key))
    await check(reference.key, mark.audio.file, mark.audio.bytes)
    source = {
        "title": mark.media.title,
        "artist": mark.media.artist,
        "duration": mark.duration_seconds,
        "sha256": mark.audio_sha256,
        "markKey": reference.key,
        "markSha256": reference.sha256,
    }
    body = await write(namespace, name, {"source": source, "phase": "Queued", "progress": 10, "stage": "separate"})
    job = build_job(
        separation_of(body, STATE.settings.api_namespace), WorkStage.SEPARATE, 1, STATE.settings, fetched=reference
    )
    await make(namespace, job.manifest)


async def separated(namespace: str, name: str, reference: MarkReference) -> None:
    mark = Manifest.model_validate_json(await stored(reference.key))
    for stem in mark.stems.values():
        await check(reference.key, stem.file, stem.bytes)
    result = result_of(FoundManifest(reference, mark)).model_dump(mode="json", by_alias=True)
    finished = datetime.now(UTC).isoformat()
    status = {"phase": "Completed", "progress": 100, "result": result, "finishedAt": finished}
    body = await write(namespace, name, status)
    await STATE.objects.remove(prefix_of(body["status"]["source"]["markKey"]))


async def make(namespace: str, manifest: Any) -> None:
    try:
        await STATE.jobs.create_namespaced_job(namespace, manifest)
    except ApiException as error:
        if error.status != 409:
            raise


async def write(namespace: str, name: str, status: dict[str, Any]) -> Any:
    body = await STATE.custom.patch_namespaced_custom_object_status(
        GROUP, VERSION, namespace, PLURAL, name, {"status": status}, _content_type="application/merge-patch+json"
    )
    await mirror(body["status"]["trackId"], status["phase"])
    return body


async def mirror(track: str, phase: str) -> None:
    await STATE.redis.set(f"idiomatic:{track}", json.dumps({"track_id": track, "phase": phase}))


async def mark_of_pod(namespace: str, job_uid: str) -> MarkReference:
    listed = await STATE.pods.list_namespaced_pod(namespace, label_selector=f"{CONTROLLER_UID}={job_uid}")
    outcome = parse_outcome(listed.items[0].status.container_statuses[0].state.terminated.message)
    if outcome is None or outcome.mark is None:
        raise RuntimeError(f"the pod of Job {job_uid} has no Outcome")
    return outcome.mark


async def stored(key: str) -> bytes:
    content = await STATE.objects.get(key, 2**20)
    if content is None:
        raise RuntimeError(f"{key} does not exist")
    return bytes(content)


async def check(mark: str, file: str, size: int) -> None:
    if await STATE.objects.size(prefix_of(mark) + file) != size:
        raise RuntimeError(f"{file} beside {mark} has an unexpected size")
