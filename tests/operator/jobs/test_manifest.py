"""Jobs are built as the golden files show, and differ where profile, model or attempt say so."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml

from stemyard_contract.handover import ASSIGNMENT_VARIABLE, Assignment, MarkReference, WorkStage
from stemyard_contract.quality import Quality
from stemyard_contract.separationjob import Output, SeparationJobStatus, SourceStatus
from stemyard_operator.config.profiles import Gpu, load_profiles, quantity_bytes
from stemyard_operator.config.settings import Settings
from stemyard_operator.jobs.disk import fetch_workspace, mebibytes, separate_workspace
from stemyard_operator.jobs.manifest import build_job
from stemyard_operator.model.job import job_of
from stemyard_operator.model.separation import Separation, separation_of
from tests.operator.world import SPEC, World, settings

GOLDEN = Path(__file__).parents[2] / "golden" / "operator"
MARK = MarkReference(key="install-1/work/music.song/0123/source.json", sha256="c" * 64)
PROFILES = """
profiles:
  default:
    fetch: {resources: {requests: {cpu: 250m, memory: 512Mi}, limits: {memory: 1Gi}}}
    separate: {resources: {requests: {cpu: 1, memory: 2Gi}, limits: {memory: 4Gi}}}
  cpu:
    separate: {resources: {limits: {memory: 4Gi}}, device: cpu}
  gpu:
    separate:
      resources: {limits: {memory: 8Gi}}
      maxMemory: 24Gi
      gpu: {resource: nvidia.com/gpu, count: 2}
    nodeSelector: {accelerator: h200}
    tolerations: [{key: nvidia.com/gpu, operator: Exists}]
    affinity: {nodeAffinity: {}}
    priorityClassName: batch
    runtimeClassName: nvidia
    topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway}]
  dra:
    separate:
      resourceClaims: [{name: gpu, resourceClaimTemplateName: one-gpu}]
  mig:
    separate:
      gpu: {resource: nvidia.com/mig-1g.10gb}
  amd:
    separate:
      gpu: {resource: amd.com/gpu, count: 1}
"""


@pytest.fixture
def config(tmp_path: Path) -> Settings:
    (tmp_path / "profiles.yaml").write_text(PROFILES)
    return settings(
        profiles_file=tmp_path / "profiles.yaml",
        separator_image_cpu="registry/separator:1-cpu",
        separator_image_cuda="registry/separator:1-cuda",
        image_pull_secrets=("pull",),
        model_claim="models",
    )


def separation(**spec: Any) -> Separation:
    world = World(spec={**SPEC, **spec})
    world.status = SeparationJobStatus(run=1, source=SourceStatus(duration=240.0)).dump()
    resource = world.resource
    resource["metadata"]["labels"] = {"argocd.argoproj.io/instance": "prod"}
    return separation_of(resource)


def pod(manifest: Any) -> dict[str, Any]:
    spec: dict[str, Any] = manifest["spec"]["template"]["spec"]
    return spec


def test_separate_is_told_the_quality(config: Settings) -> None:
    built = build_job(separation(quality="best"), WorkStage.SEPARATE, 1, config, fetched=MARK)
    told = {one["name"]: one.get("value", "") for one in pod(built.manifest)["containers"][0]["env"]}
    assert Assignment.model_validate_json(told[ASSIGNMENT_VARIABLE]).quality is Quality.BEST


@pytest.mark.parametrize("stage", WorkStage)
def test_jobs_are_as_the_golden_files_show(stage: WorkStage, config: Settings) -> None:
    fetched = MARK if stage is WorkStage.SEPARATE else None
    built = build_job(separation(), stage, 1, config, fetched=fetched)
    path = GOLDEN / f"job-{stage}.yaml"
    assert json.loads(json.dumps(built.manifest)) == yaml.safe_load(path.read_text())
    assert built.name == built.manifest["metadata"]["name"]


def test_a_gpu_profile_places_separate_only(config: Settings) -> None:
    built = pod(build_job(separation(profile="gpu"), WorkStage.SEPARATE, 1, config, fetched=MARK).manifest)
    assert built["nodeSelector"] == {"accelerator": "h200"}
    assert built["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists"}]
    assert built["affinity"] == {"nodeAffinity": {}}
    assert (built["priorityClassName"], built["runtimeClassName"]) == ("batch", "nvidia")
    assert built["topologySpreadConstraints"][0]["topologyKey"] == "zone"
    resources = built["containers"][0]["resources"]
    assert resources["limits"]["nvidia.com/gpu"] == resources["requests"]["nvidia.com/gpu"] == "2"
    fetch = pod(build_job(separation(profile="gpu"), WorkStage.FETCH, 1, config).manifest)
    assert not {"nodeSelector", "tolerations", "runtimeClassName"} & set(fetch)
    assert "nvidia.com/gpu" not in fetch["containers"][0]["resources"]["limits"]


def test_devices_by_name_and_by_claim(config: Settings) -> None:
    for profile, resource in (("mig", "nvidia.com/mig-1g.10gb"), ("amd", "amd.com/gpu")):
        built = pod(build_job(separation(profile=profile), WorkStage.SEPARATE, 1, config, fetched=MARK).manifest)
        assert built["containers"][0]["resources"]["limits"][resource] == "1"
    built = pod(build_job(separation(profile="dra"), WorkStage.SEPARATE, 1, config, fetched=MARK).manifest)
    assert built["resourceClaims"] == [{"name": "gpu", "resourceClaimTemplateName": "one-gpu"}]
    assert built["containers"][0]["resources"]["claims"] == [{"name": "gpu"}]
    fetch = pod(build_job(separation(profile="dra"), WorkStage.FETCH, 1, config).manifest)
    assert "resourceClaims" not in fetch


def test_more_memory_is_asked_for_as_well_as_allowed(config: Settings) -> None:
    built = build_job(separation(), WorkStage.SEPARATE, 2, config, memory=6 * 2**30, fetched=MARK)
    resources = pod(built.manifest)["containers"][0]["resources"]
    assert resources["requests"]["memory"] == resources["limits"]["memory"] == "6144Mi"


def test_the_job_can_be_read_back(config: Settings) -> None:
    built = build_job(separation(), WorkStage.SEPARATE, 3, config, fetched=MARK)
    given = {"uid": "u", "resourceVersion": "7", "creationTimestamp": "2026-11-22T12:00:00Z"}
    job = job_of({**built.manifest, "metadata": {**built.manifest["metadata"], **given}})
    assert job is not None
    assert (job.stage, job.run, job.attempt, job.fetched) == (WorkStage.SEPARATE, 1, 3, MARK)
    assert job.memory == quantity_bytes("4Gi")


def test_the_assignment_tells_all(config: Settings) -> None:
    built = build_job(separation(), WorkStage.FETCH, 1, config)
    values = {variable["name"]: variable.get("value") for variable in pod(built.manifest)["containers"][0]["env"]}
    told = Assignment.model_validate_json(values[ASSIGNMENT_VARIABLE] or "")
    assert (told.model, told.limits.max_bytes, told.fetched) == ("spleeter-2stems", 50 * 2**20, None)


def test_labels_of_the_parent_are_not_copied(config: Settings) -> None:
    built = build_job(separation(), WorkStage.FETCH, 1, config)
    assert "argocd.argoproj.io/instance" not in built.manifest["metadata"]["labels"]


def test_extra_environment_and_fetch_volumes(config: Settings, tmp_path: Path) -> None:
    listed = tmp_path / "volumes.json"
    listed.write_text('[{"name": "plugin", "configMap": "yt", "mountPath": "/plugins"}]')
    changed = {"separator_extra_env": {"A": "b"}, "separator_fetch_volumes_file": listed}
    more = settings(**{**config.model_dump(), **changed})
    fetch = pod(build_job(separation(), WorkStage.FETCH, 1, more).manifest)
    assert {"name": "A", "value": "b"} in fetch["containers"][0]["env"]
    assert {"name": "plugin", "configMap": {"name": "yt"}} in fetch["volumes"]
    separate = pod(build_job(separation(), WorkStage.SEPARATE, 1, more, fetched=MARK).manifest)
    assert "plugin" not in [volume["name"] for volume in separate["volumes"]]


def test_disk_follows_the_audio() -> None:
    lossy, lossless = Output(), Output(format="wav", bit_depth=32)
    assert separate_workspace(480, 2, lossy) - separate_workspace(240, 2, lossy) == 240 * (264_600 + 2 * 392_800)
    assert separate_workspace(480, 2, lossless) - separate_workspace(480, 2, lossy) == 480 * 2 * (352_800 - 40_000)
    assert fetch_workspace(50, 10) < fetch_workspace(60, 10) < fetch_workspace(60, 20)
    assert mebibytes(2**20 + 1) == "2Mi"


def test_profiles_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    from stemyard_operator.errors import ConfigurationError

    for text in (
        "profiles: {}",
        "profiles: {default: {separate: {resourceClaims: [{name: gpu}]}}}",
        "profiles: {default: {cpu: 1}}",
        "][",
    ):
        path = tmp_path / "profiles.yaml"
        path.write_text(text)
        with pytest.raises(ConfigurationError, match="PROFILES_FILE"):
            load_profiles(path)
    with pytest.raises(ConfigurationError, match="PROFILES_FILE"):
        load_profiles(tmp_path / "missing.yaml")
    assert Gpu().resource == "nvidia.com/gpu"


def environment(manifest: Any) -> dict[str, Any]:
    variables = pod(manifest)["containers"][0]["env"]
    assert len({each["name"] for each in variables}) == len(variables)
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in variables}


SOURCES = {
    "youtube_cookies_secret": "cookies",
    "youtube_proxy_secret": "proxy",
    "youtube_po_token_url": "http://pot:4416",
    "youtube_request_interval": 0.75,
    "youtube_download_delay": 10,
    "youtube_download_delay_max": 20,
    "youtube_extractors": "soundcloud, Bandcamp",
}


def test_fetch_is_told_and_given_what_sources_need(config: Settings) -> None:
    more = settings(**{**config.model_dump(exclude={"youtube_extractors"}), **SOURCES})
    built = build_job(separation(), WorkStage.FETCH, 1, more).manifest
    told, fetch = environment(built), pod(built)
    assert told["STEMYARD_YOUTUBE_PROXY"] == {"secretKeyRef": {"name": "proxy", "key": "proxyUrl"}}
    assert told["STEMYARD_YOUTUBE_PO_TOKEN_URL"] == "http://pot:4416"
    assert told["STEMYARD_YOUTUBE_REQUEST_INTERVAL"] == "0.75"
    assert told["STEMYARD_YOUTUBE_DOWNLOAD_DELAY"] == "10"
    assert told["STEMYARD_YOUTUBE_DOWNLOAD_DELAY_MAX"] == "20"
    assert told["STEMYARD_EXTRACTORS"] == "soundcloud,Bandcamp"
    mounts = {each["name"]: each for each in fetch["containers"][0]["volumeMounts"]}
    volumes = {each["name"]: each for each in fetch["volumes"]}
    assert mounts["youtube-cookies"]["readOnly"]
    assert told["STEMYARD_YOUTUBE_COOKIES"] == mounts["youtube-cookies"]["mountPath"] + "/cookies.txt"
    assert told["STEMYARD_PRIVATE_DIR"] == mounts["private"]["mountPath"]
    assert volumes["private"]["emptyDir"]["medium"] == "Memory"
    assert volumes["youtube-cookies"]["secret"]["secretName"] == "cookies"
    assert set(mounts) == set(volumes)
    separate = build_job(separation(), WorkStage.SEPARATE, 1, more, fetched=MARK).manifest
    assert not [name for name in environment(separate) if "YOUTUBE" in name or "EXTRACTORS" in name]
    assert not {"youtube-cookies", "private"} & {each["name"] for each in pod(separate)["volumes"]}


@pytest.mark.parametrize("name", ["generic", "all", "Default", "", "a b"])
def test_an_extractor_that_reads_everything_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"any address|pattern") if name else nullcontext():
        settings(youtube_extractors=name)


@pytest.mark.parametrize(
    ("profile", "model", "device"),
    [
        ("gpu", "htdemucs", "cuda"),
        ("gpu", "spleeter-2stems", None),
        ("default", "htdemucs", None),
        ("cpu", "htdemucs", "cpu"),
    ],
)
def test_a_profile_that_asks_for_a_gpu_insists_on_it(
    config: Settings, profile: str, model: str, device: str | None
) -> None:
    more = config.model_copy(update={"enabled_models": ("spleeter-2stems", "htdemucs")})
    built = build_job(separation(profile=profile, model=model), WorkStage.SEPARATE, 1, more, fetched=MARK)
    assert environment(built.manifest).get("STEMYARD_DEVICE") == device
    assert "STEMYARD_DEVICE" not in environment(build_job(separation(), WorkStage.FETCH, 1, more).manifest)


def test_models_may_come_in_an_image(config: Settings) -> None:
    given = config.model_copy(update={"model_image": "models:1"})
    built = pod(build_job(separation(), WorkStage.SEPARATE, 1, given, fetched=MARK).manifest)
    [volume] = [one for one in built["volumes"] if one["name"] == "models"]
    assert volume["image"] == {"reference": "models:1", "pullPolicy": given.image_pull_policy}
    assert {"name": "models", "mountPath": "/models", "readOnly": True} in built["containers"][0]["volumeMounts"]
    fetching = pod(build_job(separation(), WorkStage.FETCH, 1, given).manifest)
    assert all(one["name"] != "models" for one in fetching["volumes"])


def test_extra_variables_win(config: Settings) -> None:
    changed = {"separator_extra_env": {"STEMYARD_DEVICE": "auto"}, "enabled_models": ("htdemucs",)}
    more = config.model_copy(update=changed)
    built = build_job(separation(profile="cpu", model="htdemucs"), WorkStage.SEPARATE, 1, more, fetched=MARK)
    assert environment(built.manifest)["STEMYARD_DEVICE"] == "auto"
