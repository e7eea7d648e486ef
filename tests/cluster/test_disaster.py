"""The cluster's memory is lost and the bucket is not: the chart's Job brings the results back."""

import json
import re
from dataclasses import replace
from typing import Any

import httpx

from charts.helm import merge
from charts.install import install
from tests.cluster.conftest import System, settled
from tests.cluster.separations import separate, submit
from tests.cluster.test_faults import jobs_of, until
from tests.cluster.test_release import release_of


def read(system: System, track_id: str) -> dict[str, Any]:
    with system.service.http() as client:
        return dict(client.get(f"/job/{track_id}").raise_for_status().json())


def lose_the_memory_of(system: System, name: str) -> None:
    """Delete a SeparationJob and Redis's data while no operator is there to hear of it, as when etcd is gone."""
    operator = f"deployment/{system.namespace}-operator"
    system.kubectl("scale", operator, "--replicas=0")
    its_pods = "app.kubernetes.io/component=operator"
    system.kubectl("wait", "--for=delete", "pod", "-l", its_pods, "--timeout=60s")
    try:
        system.kubectl("delete", "sepjob", name, "--wait=true")
        valkey = system.kubectl("get", "pods", "-l", "app.kubernetes.io/component=valkey", "-o", "name").strip()
        system.kubectl("delete", valkey, "--grace-period=0", "--force")
    finally:
        # one again, as the values have it: else an upgrade would find that it is not its own any more
        system.kubectl("scale", operator, "--replicas=1")
    settled(system)


def test_what_the_bucket_holds_is_served_again(system: System) -> None:
    request = {"url": system.take("disaster")}
    before = separate(system.service, request)
    track_id = str(before["track_id"])
    name = f"sep-{track_id}"
    uid = system.resource_of(track_id)["metadata"]["uid"]
    install_id = system.kubectl("get", "configmap", f"{system.namespace}-install", "-o", "jsonpath={.data.installId}")
    lose_the_memory_of(system, name)
    assert system.kubectl("get", "sepjob", name, "--ignore-not-found") == ""
    release = release_of(system)
    more = {"rebuild": {"enabled": True}, "install": {"id": install_id}}
    try:
        install(replace(release, values=merge(release.values, more)), print, timeout=300)
        job = system.kubectl("get", "jobs", "-l", "app.kubernetes.io/component=rebuild", "-o", "name").strip()
        system.kubectl("wait", "--for=condition=Complete", "--timeout=180s", job)
        said = system.kubectl("logs", job)
    finally:
        install(release, print, timeout=300)
    told = json.loads(said.splitlines()[-1])["message"]
    assert re.search(r"\b1 restored", told), told
    resource = system.resource_of(track_id)
    assert resource["metadata"]["uid"] != uid
    until(lambda: read(system, track_id)["status"] == "completed", 60)
    after = read(system, track_id)
    for link in ("vocals_url", "instrumental_url"):
        was, now = (httpx.get(one["result"][link], timeout=30).raise_for_status().content for one in (before, after))
        assert now == was
    assert submit(system.service, request)["cached"] is True
    # those of the lost one are collected, and there is nothing to do again
    until(lambda: jobs_of(system, track_id) == [], 60)
