"""Simulates nodes in a separate process: drives every scheduled pod through its phases by the API.

It does what kubelet and the separator do as far as the cluster can see: heartbeats, a pod that starts, runs for a
while, writes its files and its commit mark to the S3 server, and ends with an Outcome. The scheduler, the Job
controller and the garbage collector are real.
"""

import asyncio
import hashlib
import json
import sys
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import aiohttp
import boto3
from botocore.config import Config

from bench.operator.client import Access, Client, Document, RefusedError
from stemyard_contract.handover import ASSIGNMENT_VARIABLE, Assignment, MarkReference, Outcome
from stemyard_operator.jobs.manifest import JOB_LABELS
from tests.operator.world import mark_of

LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
HEARTBEAT_SECONDS = 10
CAPACITY = {"cpu": "1000", "memory": "8Ti", "ephemeral-storage": "100Ti", "pods": "1000"}


def stamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Bucket:
    """Puts objects by presigned links, as the separator does."""

    def __init__(self, url: str, bucket: str, access: str, secret: str) -> None:
        self._bucket = bucket
        self._client = boto3.client(
            "s3",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id=access,
            aws_secret_access_key=secret,
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
        )
        self._session = aiohttp.ClientSession()

    async def put(self, key: str, content: bytes) -> None:
        parameters = {"Bucket": self._bucket, "Key": key}
        link = self._client.generate_presigned_url("put_object", Params=parameters, ExpiresIn=600)
        async with self._session.put(link, data=content) as response:
            response.raise_for_status()


class Nodes:
    def __init__(self, client: Client, bucket: Bucket, install: str, count: int, seconds: float) -> None:
        self._client = client
        self._bucket = bucket
        self._install = install
        self._names = [f"simulated-{number}" for number in range(count)]
        self._seconds = seconds
        self._running: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        for name in self._names:
            await self._register(name)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._heartbeats())
            group.create_task(self._pods(group))

    async def _register(self, name: str) -> None:
        await self._client.call("POST", "/api/v1/nodes", {"metadata": {"name": name}})
        ready = {"type": "Ready", "status": "True", "reason": "Simulated", "lastHeartbeatTime": stamp()}
        status = {"capacity": CAPACITY, "allocatable": CAPACITY, "conditions": [ready]}
        await self._client.merge(f"/api/v1/nodes/{name}/status", {"status": status})
        # the node lifecycle controller taints nodes that are not ready at first
        await self._client.merge(f"/api/v1/nodes/{name}", {"spec": {"taints": None}})
        spec = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": self._now()}
        await self._client.call("POST", LEASES, {"metadata": {"name": name}, "spec": spec})

    async def _heartbeats(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            for name in self._names:
                await self._client.merge(f"{LEASES}/{name}", {"spec": {"renewTime": self._now()}})

    @staticmethod
    def _now() -> str:
        return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    async def _pods(self, group: asyncio.TaskGroup) -> None:
        selector = ",".join(f"{key}={value}" for key, value in JOB_LABELS.items())
        async for kind, pod in self._client.watch("/api/v1/pods", labelSelector=selector):
            uid = pod["metadata"]["uid"]
            if kind == "DELETED":
                self._running.pop(uid, None)
            elif uid not in self._running and _starts(pod):
                self._running[uid] = group.create_task(self._live(pod))

    async def _live(self, pod: Document) -> None:
        path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}/status"
        started = stamp()
        try:
            await self._client.merge(path, {"status": _status(pod, "Running", {"running": {"startedAt": started}})})
            await asyncio.sleep(self._seconds)
            message = await self._work(pod)
            ended = {"exitCode": 0, "reason": "Completed", "startedAt": started, "finishedAt": stamp()}
            state = {"terminated": {**ended, "message": message}}
            await self._client.merge(path, {"status": _status(pod, "Succeeded", state)})
        except RefusedError as refused:
            if refused.status != 404:
                raise

    async def _work(self, pod: Document) -> str:
        """Write the separator's objects; return its Outcome."""
        variables = {one["name"]: one.get("value") for one in pod["spec"]["containers"][0]["env"]}
        assignment = Assignment.model_validate_json(variables[ASSIGNMENT_VARIABLE])
        separation: Any = SimpleNamespace(**vars(assignment), spec=assignment, created=datetime.now(UTC))
        key, content, beside = mark_of(
            separation, assignment.stage, assignment.run, pod["metadata"]["uid"], self._install
        )
        for name, body in {**beside, key: content}.items():
            await self._bucket.put(name, body)
        reference = MarkReference(key=key, sha256=hashlib.sha256(content).hexdigest())
        return Outcome(stage=assignment.stage, mark=reference).dump()


def _starts(pod: Document) -> bool:
    placed, waits = pod["spec"].get("nodeName"), pod["status"]["phase"] == "Pending"
    return bool(placed) and waits and "deletionTimestamp" not in pod["metadata"]


def _status(pod: Document, phase: str, state: Document) -> Document:
    ready = "True" if phase == "Running" else "False"
    conditions = [
        *(one for one in pod["status"].get("conditions", []) if one["type"] == "PodScheduled"),
        *({"type": kind, "status": ready, "lastTransitionTime": stamp()} for kind in ("Ready", "ContainersReady")),
    ]
    name = pod["spec"]["containers"][0]["name"]
    container = {"name": name, "image": "simulated", "imageID": "", "ready": phase == "Running", "restartCount": 0}
    return {"phase": phase, "conditions": conditions, "containerStatuses": [{**container, "state": state}]}


async def main() -> None:
    config = json.loads(sys.stdin.readline())
    async with Client(Access(**config["access"])) as client:
        nodes = Nodes(client, Bucket(**config["bucket"]), config["install"], config["count"], config["seconds"])
        await nodes.run()


if __name__ == "__main__":
    asyncio.run(main())
