"""Jobs are built as the golden files show, and differ where profile, model or attempt say so."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from stemyard_contract.handover import ASSIGNMENT_VARIABLE, Assignment, MarkReference, WorkStage
from stemyard_contract.quality import Quality
from stemyard_contract.separationjob import Output, SeparationJobStatus, SourceStatus
from stemyard_operator.config.pod_options import RESERVED_FOLDERS, RESERVED_VOLUMES
from stemyard_operator.config.profiles import Gpu, load_profiles, quantity_bytes
from stemyard_operator.config.settings import Settings
from stemyard_operator.errors import ConfigurationError
from stemyard_operator.jobs.disk import fetch_workspace, mebibytes, separate_workspace
from stemyard_operator.jobs.manifest import build_job
from stemyard_operator.model.job import job_of
from stemyard_operator.model.separation import Separation, separation_of
from tests.operator.world import NAMESPACE, SPEC, World, settings

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
  policed:
    labels: {cost-center: music, app.kubernetes.io/name: stemyard}
    annotations: {sidecar.istio.io/inject: "false", karpenter.sh/do-not-disrupt: "false"}
    hostAliases: [{ip: 10.0.0.7, hostnames: [mirror.internal]}]
    dnsPolicy: None
    dnsConfig: {nameservers: [10.0.0.10], options: [{name: ndots, value: "2"}]}
    imagePullSecrets: [team]
    extraVolumes: [{name: ca, configMap: {name: corporate-ca}}]
    extraVolumeMounts: [{name: ca, mountPath: /etc/corporate}]
    schedulerName: volcano
    separate:
      labels: {cost-center: gpu}
      extraVolumes: [{name: data, persistentVolumeClaim: {claimName: reference}}]
      extraVolumeMounts: [{name: data, mountPath: /data, subPath: songs}]
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
    return separation_of(resource, NAMESPACE)


def pod(manifest: Any) -> dict[str, Any]:
    spec: dict[str, Any] = manifest["spec"]["template"]["spec"]
    return spec


def test_the_assignment_of_separate_has_the_quality(config: Settings) -> None:
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


def test_options_of_a_profile_reach_jobs_and_pods_of_both_stages(config: Settings) -> None:
    built = {
        stage: build_job(separation(profile="policed"), stage, 1, config, fetched=MARK).manifest for stage in WorkStage
    }
    for stage, center in ((WorkStage.FETCH, "music"), (WorkStage.SEPARATE, "gpu")):
        for metadata in (built[stage]["metadata"], built[stage]["spec"]["template"]["metadata"]):
            assert metadata["labels"].items() >= {"cost-center": center, "app.kubernetes.io/name": "stemyard"}.items()
            assert metadata["labels"]["app.kubernetes.io/component"] == "separator"
            assert metadata["annotations"]["sidecar.istio.io/inject"] == "false"
        assert built[stage]["spec"]["template"]["metadata"]["annotations"]["karpenter.sh/do-not-disrupt"] == "false"
        spec = pod(built[stage])
        assert spec["hostAliases"] == [{"ip": "10.0.0.7", "hostnames": ["mirror.internal"]}]
        assert spec["dnsPolicy"] == "None"
        assert spec["dnsConfig"] == {"nameservers": ["10.0.0.10"], "options": [{"name": "ndots", "value": "2"}]}
        assert spec["imagePullSecrets"] == [{"name": "pull"}, {"name": "team"}]
        assert {"name": "ca", "configMap": {"name": "corporate-ca"}} in spec["volumes"]
        mount = {"name": "ca", "mountPath": "/etc/corporate", "readOnly": True}
        assert mount in spec["containers"][0]["volumeMounts"]
    claim = {"claimName": "reference", "readOnly": True}
    separate, fetch = pod(built[WorkStage.SEPARATE]), pod(built[WorkStage.FETCH])
    assert {"name": "data", "persistentVolumeClaim": claim} in separate["volumes"]
    mount = {"name": "data", "mountPath": "/data", "subPath": "songs", "readOnly": True}
    assert mount in separate["containers"][0]["volumeMounts"]
    assert separate["schedulerName"] == "volcano"
    assert "data" not in {volume["name"] for volume in fetch["volumes"]}
    assert "schedulerName" not in fetch


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        ("labels: {stemyard.dev/run: '2'}", "stemyard.dev/run"),
        ("labels: {app.kubernetes.io/managed-by: us}", "managed-by"),
        ("separate: {labels: {kueue.x-k8s.io/queue-name: fast}}", "queueName"),
        ("annotations: {batch.kubernetes.io/x: y}", "batch.kubernetes.io/x"),
        ("dnsPolicy: Default", "ClusterFirst"),
        ("dnsPolicy: None", "nameservers"),
        ("extraVolumes: [{name: x, hostPath: {path: /}}]", "configMap"),
        ("extraVolumes: [{name: x, emptyDir: {}}]", "configMap"),
        ("extraVolumes: [{configMap: {name: x}}]", "name"),
        ("extraVolumes: [{name: work, configMap: {name: x}}]", "work"),
        ("{extraVolumes: [{name: x, secret: {}}], fetch: {extraVolumes: [{name: x, secret: {}}]}}", "twice"),
        ("extraVolumeMounts: [{name: x, mountPath: /x}]", "extraVolumes does not have"),
        ("extraVolumeMounts: [{name: x, mountPath: x}]", "absolute"),
        ("extraVolumeMounts: [{name: x, mountPath: /x/../work}]", "absolute"),
        ("extraVolumeMounts: [{name: x, mountPath: /work/x}]", "/work"),
        ("extraVolumeMounts: [{name: x, mountPath: /var}]", "/var/run/secrets"),
        ("extraVolumeMounts: [{name: x, mountPath: /x, readOnly: false}]", "readOnly"),
        ("hostNetwork: true", "hostNetwork"),
    ],
)
def test_options_that_would_break_a_pod_are_refused(tmp_path: Path, profile: str, words: str) -> None:
    content = profile if profile.startswith("{") else f"{{{profile}}}"
    (tmp_path / "profiles.yaml").write_text(f"profiles: {{default: {content}}}")
    with pytest.raises(ConfigurationError, match=words):
        load_profiles(tmp_path / "profiles.yaml")


def test_the_reserved_volumes_are_those_that_stemyard_mounts(config: Settings) -> None:
    secrets = {"youtube_cookies_secret": "cookies", "youtube_proxy_secret": "proxy", "secrets_as_files": True}
    youtube = config.model_copy(update={**secrets, "separator_ca_config_map": "ca"})
    pods = [pod(build_job(separation(), stage, 1, youtube, fetched=MARK).manifest) for stage in WorkStage]
    assert {volume["name"] for spec in pods for volume in spec["volumes"]} == RESERVED_VOLUMES
    for mount in [mount for spec in pods for mount in spec["containers"][0]["volumeMounts"]]:
        assert any(Path(mount["mountPath"]).is_relative_to(folder) for folder in RESERVED_FOLDERS), mount


def test_devices_by_name_and_by_claim(config: Settings) -> None:
    for profile, resource in (("mig", "nvidia.com/mig-1g.10gb"), ("amd", "amd.com/gpu")):
        built = pod(build_job(separation(profile=profile), WorkStage.SEPARATE, 1, config, fetched=MARK).manifest)
        assert built["containers"][0]["resources"]["limits"][resource] == "1"
    built = pod(build_job(separation(profile="dra"), WorkStage.SEPARATE, 1, config, fetched=MARK).manifest)
    assert built["resourceClaims"] == [{"name": "gpu", "resourceClaimTemplateName": "one-gpu"}]
    assert built["containers"][0]["resources"]["claims"] == [{"name": "gpu"}]
    fetch = pod(build_job(separation(profile="dra"), WorkStage.FETCH, 1, config).manifest)
    assert "resourceClaims" not in fetch


def test_more_memory_is_requested_and_is_the_limit(config: Settings) -> None:
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


@pytest.mark.parametrize("stage", WorkStage)
def test_the_assignment_of_a_pod_has_its_deadline(stage: WorkStage, config: Settings) -> None:
    song = separation(deadlines={"fetch": 300, "separate": 7200})
    built = pod(build_job(song, stage, 1, config, fetched=MARK).manifest)
    values = {variable["name"]: variable.get("value") for variable in built["containers"][0]["env"]}
    told = Assignment.model_validate_json(values[ASSIGNMENT_VARIABLE] or "").deadline_seconds
    assert told == built["activeDeadlineSeconds"] == (300 if stage is WorkStage.FETCH else 7200)


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
    assert separate_workspace(480, 2, lossy) - separate_workspace(240, 2, lossy) == 240 * (264_600 + 2 * 304_600)
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


def test_fetch_has_the_environment_and_mounts_that_sources_need(config: Settings) -> None:
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


@pytest.mark.parametrize(
    ("given", "volume"),
    [
        ({"youtube_overlay_image": "ytdlp:2"}, {"image": {"reference": "ytdlp:2", "pullPolicy": "IfNotPresent"}}),
        (
            {"youtube_overlay_claim": "newer"},
            {"persistentVolumeClaim": {"claimName": "newer", "readOnly": True}},
        ),
    ],
)
def test_only_fetch_gets_a_newer_yt_dlp(config: Settings, given: dict[str, str], volume: dict[str, Any]) -> None:
    bounds = {"youtube_overlay_least": "2026.11.1", "youtube_overlay_greatest": "2027.1.1"}
    more = config.model_copy(update={**given, **bounds})
    fetch, separate = (build_job(separation(), stage, 1, more, fetched=MARK).manifest for stage in WorkStage)
    [found] = [each for each in pod(fetch)["volumes"] if each["name"] == "ytdlp"]
    assert found == {"name": "ytdlp", **volume}
    [mount] = [each for each in pod(fetch)["containers"][0]["volumeMounts"] if each["name"] == "ytdlp"]
    assert mount["readOnly"]
    told = environment(fetch)
    assert told["STEMYARD_YOUTUBE_OVERLAY"] == mount["mountPath"]
    assert told["STEMYARD_YOUTUBE_OVERLAY_LEAST"] == "2026.11.1"
    assert told["STEMYARD_YOUTUBE_OVERLAY_GREATEST"] == "2027.1.1"
    assert "ytdlp" not in {each["name"] for each in pod(separate)["volumes"]}
    assert not [name for name in environment(separate) if "OVERLAY" in name]


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


def test_the_platform_may_choose_the_user(config: Settings) -> None:
    context = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}, "supplementalGroups": [1000]}
    open_shift = config.model_copy(update={"pod_security_context": context})
    for stage in WorkStage:
        built = pod(build_job(separation(), stage, 1, open_shift, fetched=MARK).manifest)
        assert built["securityContext"] == context
        assert "runAsUser" not in built["containers"][0]["securityContext"]


@pytest.mark.parametrize("context", [{}, {"runAsNonRoot": False}, {"runAsNonRoot": True, "runAsUser": 0}])
def test_no_setting_lets_separators_run_as_root(context: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="runAsNonRoot: true"):
        settings(pod_security_context=context)


def test_fetch_alone_gets_a_user_namespace(config: Settings) -> None:
    own = config.model_copy(update={"fetch_host_users": False})
    fetch = pod(build_job(separation(), WorkStage.FETCH, 1, own).manifest)
    separate = pod(build_job(separation(), WorkStage.SEPARATE, 1, own, fetched=MARK).manifest)
    assert fetch["hostUsers"] is False
    assert "hostUsers" not in separate
    assert "hostUsers" not in pod(build_job(separation(), WorkStage.FETCH, 1, config).manifest)


def test_pods_of_both_stages_stay_out_of_a_mesh_unless_their_profile_says_otherwise(config: Settings) -> None:
    out = config.model_copy(
        update={
            "separator_pod_labels": {"sidecar.istio.io/inject": "false", "cost-center": "all"},
            "separator_pod_annotations": {"linkerd.io/inject": "disabled"},
        }
    )
    for stage in WorkStage:
        job = build_job(separation(), stage, 1, out, fetched=MARK).manifest
        metadata = job["spec"]["template"]["metadata"]
        assert metadata["labels"]["sidecar.istio.io/inject"] == "false"
        assert metadata["annotations"]["linkerd.io/inject"] == "disabled"
        assert metadata["labels"]["stemyard.dev/stage"] == stage
        assert "sidecar.istio.io/inject" not in job["metadata"]["labels"]
    own = build_job(separation(profile="policed"), WorkStage.FETCH, 1, out).manifest
    assert own["spec"]["template"]["metadata"]["labels"]["cost-center"] == "music"


@pytest.mark.parametrize("stage", WorkStage)
def test_the_authorities_of_desk_and_store_are_mounted_without_private_keys(stage: WorkStage) -> None:
    given = settings(separator_ca_config_map="bundle", separator_ca_secrets=("desk-tls", "store-tls"))
    pod = build_job(separation(), stage, 1, given, fetched=MARK).manifest["spec"]["template"]["spec"]
    [volume] = [each for each in pod["volumes"] if each["name"] == "stemyard-ca"]
    assert volume["projected"]["sources"] == [
        {"configMap": {"name": "bundle", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"secret": {"name": "desk-tls", "items": [{"key": "ca.crt", "path": "desk-tls.crt"}]}},
        {"secret": {"name": "store-tls", "items": [{"key": "ca.crt", "path": "store-tls.crt"}]}},
    ]
    [container] = pod["containers"]
    folder = "/var/run/secrets/stemyard-ca"
    assert {"name": "stemyard-ca", "mountPath": folder, "readOnly": True} in container["volumeMounts"]
    assert {"name": "STEMYARD_CA_DIR", "value": folder} in container["env"]


@pytest.mark.parametrize("stage", WorkStage)
def test_nothing_is_mounted_without_authorities(stage: WorkStage) -> None:
    pod = build_job(separation(), stage, 1, settings(), fetched=MARK).manifest["spec"]["template"]["spec"]
    assert "stemyard-ca" not in {each["name"] for each in pod["volumes"]}
    assert "STEMYARD_CA_DIR" not in {each["name"] for each in pod["containers"][0]["env"]}
