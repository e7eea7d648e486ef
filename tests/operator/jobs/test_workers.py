"""Which songs share workers, and what the Job of a worker is."""

from dataclasses import replace
from typing import Any

import pytest

from stemyard_contract.handover import ASSIGNMENT_VARIABLE, MarkReference, WorkStage
from stemyard_contract.leasing import PUBLISHING_LIMIT, WORKER_VARIABLE, WorkerAssignment
from stemyard_contract.separationjob import LABEL_QUEUE, SourceStatus
from stemyard_operator.config.profiles import Gpu, Profile, Resources, StageProfile, Worker
from stemyard_operator.config.settings import Settings
from stemyard_operator.jobs.kueue import LABEL_PRIORITY
from stemyard_operator.jobs.manifest import build_job
from stemyard_operator.jobs.workers import LAST_SONG_SECONDS, WorkerPlan, fits_worker, worker_plan
from stemyard_operator.model.job import job_of
from stemyard_operator.model.separation import Separation
from tests.operator.world import World, settings, stamp

MARK = MarkReference(key="k", sha256="0" * 64)
START = stamp(World().now)


def config(worker: Worker | None = Worker(), **changes: Any) -> Settings:  # noqa: B008 - immutable
    found = settings(**changes)
    limits = Resources(requests={"cpu": "2"}, limits={"memory": "8Gi"})
    separate = StageProfile(resources=limits, gpu=Gpu(), worker=worker)
    found.__dict__["profiles"] = {"default": Profile(separate=separate), "other": Profile(separate=separate)}
    return found


def song(owner: str | None = None, labels: dict[str, str] | None = None, **spec: Any) -> Separation:
    world = World(spec={"source": {"url": "https://example.com/song.mp3"}, **spec}, labels=labels or {})
    return replace(world.separation, owner=owner)


def plan(of: Separation, settings_: Settings | None = None) -> WorkerPlan:
    found = worker_plan(of, settings_ or config())
    assert found is not None
    return found


def created(found: WorkerPlan, number: int = 1) -> dict[str, Any]:
    manifest: Any = found.creation(number).manifest
    metadata = {**manifest["metadata"], "uid": "u", "resourceVersion": "1", "creationTimestamp": START}
    return {**manifest, "metadata": metadata}


def test_a_profile_without_workers_has_none() -> None:
    assert worker_plan(song(), config(worker=None)) is None
    assert worker_plan(song(profile="gone"), config()) is None


@pytest.mark.parametrize(
    "same",
    [
        {"source": {"searchQuery": "another song"}},
        {"output": {"format": "flac"}},
        {"priority": 5},
        {"run": 2},
        {"stems": ["instrumental", "vocals"]},
        {"deadlines": {"separate": 100}},
    ],
)
def test_songs_share_workers_whatever_they_are_of(same: dict[str, Any]) -> None:
    assert plan(song(**same)).shape == plan(song()).shape


@pytest.mark.parametrize(
    "other",
    [
        {"owner": "key-1"},
        {"stems": ["vocals"]},
        {"quality": "best"},
        {"model": "htdemucs"},
        {"profile": "other"},
        {"labels": {LABEL_QUEUE: "gpus"}},
    ],
)
def test_songs_that_need_another_engine_or_belong_to_another_key_do_not(other: dict[str, Any]) -> None:
    found = config(kueue_enabled=True, enabled_models="spleeter-2stems,htdemucs")
    assert plan(song(**other), found).shape != plan(song(), found).shape


def test_namespaces_share_no_workers() -> None:
    assert plan(replace(song(), namespace="elsewhere")).shape != plan(song()).shape


def test_classes_of_priority_in_a_queue_share_no_workers() -> None:
    found = config(kueue_enabled=True)
    queued, urgent = {LABEL_QUEUE: "gpus"}, {LABEL_QUEUE: "gpus", LABEL_PRIORITY: "urgent"}
    assert plan(song(labels=queued), found).shape != plan(song(labels=urgent), found).shape


@pytest.mark.parametrize(
    "change",
    [
        {"separator_image_cpu": "registry/separator:2"},
        {"separator_extra_env": {"STEMYARD_COMPILE": "true"}},
        {"model_claim": "models"},
        {"worker": Worker(prefetch=2)},
    ],
)
def test_a_changed_deployment_needs_other_workers(change: dict[str, Any]) -> None:
    assert plan(song(), config(**change)).shape != plan(song()).shape


def test_a_worker_is_told_its_engine_and_its_bounds() -> None:
    bounds = Worker(songs=7, idle_seconds=5, max_seconds=600, prefetch=2)
    container = created(plan(song(), config(bounds)))["spec"]["template"]["spec"]["containers"][0]
    variables = {each["name"]: each.get("value") for each in container["env"]}
    assert ASSIGNMENT_VARIABLE not in variables
    told = WorkerAssignment.model_validate_json(variables[WORKER_VARIABLE])
    assert (told.songs, told.idle_seconds, told.max_seconds, told.prefetch) == (7, 5, 600, 2)
    assert (told.model, told.stems) == ("spleeter-2stems", ["instrumental", "vocals"])


def test_a_worker_is_otherwise_the_pod_of_one_song() -> None:
    found, own = config(), build_job(song(), WorkStage.SEPARATE, 1, config(), fetched=MARK).manifest
    shared, alone = created(plan(song(), found))["spec"], dict(own["spec"])
    ours, theirs = shared["template"]["spec"], alone["template"]["spec"]
    assert ours["activeDeadlineSeconds"] == found.profiles["default"].separate.worker.max_seconds + LAST_SONG_SECONDS  # type: ignore[union-attr]
    changed = {"activeDeadlineSeconds", "volumes", "containers"}
    assert {key: ours[key] for key in ours if key not in changed} == {
        key: theirs[key] for key in theirs if key not in changed
    }
    limits = ours["containers"][0]["resources"]["limits"]
    assert limits["memory"] == theirs["containers"][0]["resources"]["limits"]["memory"]
    assert limits["nvidia.com/gpu"] == "1"


def test_a_worker_has_room_for_what_it_prefetches_separates_and_publishes() -> None:
    def size(prefetch: int) -> int:
        volumes = created(plan(song(), config(Worker(prefetch=prefetch))))["spec"]["template"]["spec"]["volumes"]
        return int(volumes[0]["emptyDir"]["sizeLimit"].removesuffix("Mi"))

    beside = 1 + PUBLISHING_LIMIT
    assert size(2) * beside == pytest.approx(size(0) * (2 + beside), rel=0.01)


@pytest.mark.parametrize(("seconds", "fits"), [(None, False), (180.0, True), (900.0, True), (3600.0, False)])
def test_long_songs_do_not_fit(seconds: float | None, fits: bool) -> None:
    of = song()
    source = SourceStatus(duration=seconds) if seconds is not None else None
    of = replace(of, status=of.status.model_copy(update={"source": source}))
    assert fits_worker(of, config()) is fits


def test_a_worker_is_known_by_its_name_and_its_shape() -> None:
    found = plan(song())
    job = job_of(created(found, 3))
    assert job is not None
    assert (job.shape, job.attempt, job.owner, job.profile) == (found.shape, 3, "", "default")
    assert job.stage is WorkStage.SEPARATE


@pytest.mark.parametrize("name", ["stemyard-worker-other-1", "song-3f0c8a6e-s1-1", "anything"])
def test_a_job_with_another_name_is_no_worker(name: str) -> None:
    other = created(plan(song()))
    other["metadata"]["name"] = name
    assert job_of(other) is None


def test_the_job_of_one_song_is_no_worker_without_its_owner() -> None:
    manifest: Any = build_job(song(), WorkStage.SEPARATE, 1, config(), fetched=MARK).manifest
    orphan = {key: value for key, value in manifest["metadata"].items() if key != "ownerReferences"}
    assert job_of({**manifest, "metadata": orphan}) is None


def test_fetch_has_no_workers() -> None:
    with pytest.raises(ValueError, match="only separate has workers"):
        Profile(fetch=StageProfile(worker=Worker()))
