"""The parts accept what the chart sets: their own settings, read from the rendered environment."""

from dataclasses import replace
from pathlib import Path

import pytest

from stemyard_api.connections import ConnectionLimits
from stemyard_api.settings import Settings as ApiSettings
from stemyard_api.settings import load_settings as load_api_settings
from stemyard_contract.handover import WorkStage
from stemyard_contract.runtime import SECRET_FILES, SECRET_VARIABLES, SECRETS_DIR
from stemyard_operator.config.profiles import Profile, StageProfile, Worker
from stemyard_operator.config.settings import Settings as OperatorSettings
from stemyard_operator.config.settings import load_settings as load_operator_settings
from stemyard_operator.config.webhook_secrets import WebhookSecrets, default_secrets
from stemyard_operator.jobs.sources import source_environment, source_mounts, source_volumes
from tests.chart.rendered import CASES, NAMESPACE, RELEASE, Object, case, container, environment, find, render, schema

NO_FIELD = {SECRET_FILES, SECRET_VARIABLES, SECRETS_DIR}
"""Read before the settings are."""
OF_BOTO3 = {"AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ENDPOINT_URL_STS"}

every_case = pytest.mark.parametrize("name", CASES)
of_variables = pytest.mark.parametrize("name", [name for name in CASES if name != "secret files"])
"""Cases whose secrets are variables; `test_secret_files.py` has the others."""


def api_settings(objects: list[Object], monkeypatch: pytest.MonkeyPatch) -> ApiSettings:
    for name, value in environment(objects, "api").items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv(SECRET_FILES, raising=False)  # mounted by the kubelet alone
    return load_api_settings()


def operator_settings(objects: list[Object], folder: Path, monkeypatch: pytest.MonkeyPatch) -> OperatorSettings:
    """The operator's settings, with its ConfigMap laid out in a folder as the kubelet mounts it."""
    for name, text in find(objects, "ConfigMap", f"{RELEASE}-operator")["data"].items():
        (folder / name).write_text(text)
    webhooks = folder.with_name(f"{folder.name}-webhooks")
    webhooks.mkdir(exist_ok=True)
    (webhooks / "WEBHOOK_SECRET").write_text("0123456789abcdef")
    for name, value in environment(objects, "operator").items():
        monkeypatch.setenv(name, value.replace("/etc/stemyard", str(folder)))
    monkeypatch.delenv(SECRET_FILES, raising=False)
    return load_operator_settings()


@every_case
def test_every_variable_of_the_api_is_known_to_it(name: str) -> None:
    known = {field.upper() for field in ApiSettings.model_fields}
    extra = {one["name"] for one in CASES[name].get("api", {}).get("extraEnv", [])}
    assert environment(case(name), "api").keys() - extra <= known | NO_FIELD | OF_BOTO3


@every_case
def test_every_variable_of_the_operator_is_known_to_it(name: str) -> None:
    known = {field.upper() for field in OperatorSettings.model_fields}
    assert environment(case(name), "operator").keys() - known <= NO_FIELD | OF_BOTO3


@of_variables
def test_the_api_starts_with_what_the_chart_sets(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = api_settings(case(name), monkeypatch)
    assert settings.storage_configured
    assert settings.redis_url is not None
    ports = {port["name"]: port["containerPort"] for port in container(case(name), "api")["ports"]}
    assert ports == {"http": settings.port, "health": settings.health_port}
    # the chart's defaults are the program's
    assert replace(settings.connection_limits, proxies=()) == ConnectionLimits()


@of_variables
def test_the_operator_starts_with_what_the_chart_sets(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = case(name)
    settings = operator_settings(objects, tmp_path, monkeypatch)
    ports = {port["name"]: port["containerPort"] for port in container(objects, "operator")["ports"]}
    assert ports == {"desk": settings.desk_port, "health": settings.health_port}
    scheme = "https" if name == "encrypted" else "http"
    assert settings.desk_url == f"{scheme}://{RELEASE}-desk.{NAMESPACE}.svc.cluster.local:{settings.desk_port}"
    assert {"default", "gpu"} <= settings.profiles.keys()
    assert settings.endpoint_url == api_settings(objects, monkeypatch).store_endpoint


def test_limits_and_quotas_reach_the_api(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = api_settings(case("external"), monkeypatch)
    assert settings.result_sharing == "per-key"
    assert (settings.rate_limit_submits_per_minute, settings.rate_limit_reads_per_minute) == (5, 3000)
    assert (settings.quota_concurrent, settings.quota_minutes_per_day) == (3, 90)
    assert (settings.quota_upload_mb_per_day, settings.quota_streams) == (500, 20)
    assert [str(network) for network in settings.trusted_proxies] == ["10.0.0.0/8", "2001:db8::/32"]
    assert settings.cors_allowed_origins == ("https://app.example.com", "http://localhost:3000")


def test_the_page_can_be_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    assert api_settings(case("default"), monkeypatch).web_enabled
    objects = render({**CASES["default"], "api": {"page": {"enabled": False}}})
    assert not api_settings(objects, monkeypatch).web_enabled


def test_more_keys_are_mounted_as_a_folder() -> None:
    objects = render({**CASES["default"], "api": {"keys": {"existingSecret": "team-keys"}}})
    assert environment(objects, "api")["API_KEYS_FILE"] == "/etc/stemyard/keys/keys.yaml"
    [mount] = [one for one in container(objects, "api")["volumeMounts"] if one["name"] == "keys"]
    assert mount["mountPath"] == "/etc/stemyard/keys"
    assert "subPath" not in mount


def test_links_of_the_demo_are_for_its_node(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = api_settings(case("demo"), monkeypatch)
    assert settings.public_store_endpoint == "http://192.0.2.7:30900"
    assert settings.store_endpoint == f"http://{RELEASE}-store.{NAMESPACE}.svc.cluster.local:7070"


def test_parts_agree_on_redis_and_the_install_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = case("demo")
    api = api_settings(objects, monkeypatch)
    operator = operator_settings(objects, tmp_path, monkeypatch)
    assert api.stemyard_install_id == operator.stemyard_install_id
    assert api.redis_url is not None
    assert api.redis_url.get_secret_value() == operator.redis_url


def test_profiles_of_the_demo_reach_the_operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    profiles = operator_settings(case("demo"), tmp_path, monkeypatch).profiles
    assert profiles["default"].separate.gpu is None
    assert profiles["default"].separate.memory is not None
    assert profiles["gpu"].separate.gpu is not None
    assert profiles["gpu"].placement(WorkStage.SEPARATE).tolerations[0]["key"] == "nvidia.com/gpu"
    assert profiles["gpu"].placement(WorkStage.FETCH).tolerations == []


def test_extra_settings_of_separators_reach_the_operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = operator_settings(case("kept"), tmp_path, monkeypatch)
    assert settings.separator_extra_env == {"STEMYARD_THREADS": "2"}
    assert [(one.config_map, one.mount_path) for one in settings.fetch_volumes] == [("plugins", "/plugins")]
    assert settings.model_claim == "weights"
    assert settings.separator_service_account == f"{RELEASE}-separator"


def test_parts_agree_on_which_objects_may_be_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, prefixes in (("default", ()), ("kept", ("incoming/", "library/masters/"))):
        assert api_settings(case(name), monkeypatch).object_source_prefixes == prefixes
        assert operator_settings(case(name), tmp_path, monkeypatch).object_source_prefixes == prefixes


def test_webhooks_reach_the_operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = case("kept")
    settings = operator_settings(objects, tmp_path, monkeypatch)
    assert settings.webhook_url == "http://consumer.example.com:8081/hook"
    assert settings.webhook_allow_http
    assert settings.webhook_allowed_origins == ("https://198.51.100.9:8443",)
    pod = find(objects, "Deployment", f"{RELEASE}-operator")["spec"]["template"]["spec"]
    mounts = {one["name"]: one["mountPath"] for one in container(objects, "operator")["volumeMounts"]}
    assert mounts["webhooks"] == environment(objects, "operator")["WEBHOOK_SECRETS_DIR"]
    [name] = [one["secret"]["secretName"] for one in pod["volumes"] if one["name"] == "webhooks"]
    for key, text in find(objects, "Secret", name)["stringData"].items():
        (tmp_path / key).write_text(text)
    mounted = settings.model_copy(update={"webhook_secrets_dir": tmp_path})
    assert default_secrets(mounted) == ("0123456789abcdef", "fedcba9876543210")
    assert settings.webhook_events == ("separation.started", "separation.failed")
    webhook_secrets = WebhookSecrets(mounted)
    assert [(one.name, one.keys, one.events) for one in webhook_secrets.endpoints.endpoints] == [
        ("crm", ("team-a",), ()),
        ("all", ("*",), ("separation.completed",)),
    ]
    assert webhook_secrets.secrets("crm", "team-a") == ("s3cret-of-the-crm",)
    assert webhook_secrets.secrets(key="team-a") == ("s3cret-of-team-a", "s3cret-of-before")


def test_the_clusters_own_addresses_get_no_webhooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = operator_settings(case("external"), tmp_path, monkeypatch)
    assert [str(one) for one in settings.webhook_denied_cidrs] == ["192.0.2.0/24", "2001:db8::/32"]
    assert settings.webhook_ports == (443, 9443)
    assert settings.webhook_proxy_url == "http://proxy.example.com:3128"


def test_the_schema_of_profiles_is_the_operators() -> None:
    profile = schema()["properties"]["profiles"]["additionalProperties"]["properties"]
    assert profile.keys() == {field.alias for field in Profile.model_fields.values()}
    stage = {field.alias for field in StageProfile.model_fields.values()}
    assert profile["fetch"]["properties"].keys() == stage - {"worker"}
    assert profile["separate"]["properties"].keys() == stage
    worker = {field.alias for field in Worker.model_fields.values()}
    assert profile["separate"]["properties"]["worker"]["properties"].keys() == worker


def test_what_is_said_of_sources_reaches_the_operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = operator_settings(case("kept"), tmp_path, monkeypatch)
    assert (settings.youtube_cookies_secret, settings.youtube_proxy_secret) == ("cookies", "proxy")
    assert settings.youtube_po_token_url == "http://pot.songs.svc:4416"
    assert settings.youtube_request_interval == 0.75
    assert (settings.youtube_download_delay, settings.youtube_download_delay_max) == (10, 20)
    assert (settings.youtube_overlay_image, settings.youtube_overlay_claim) == ("", "newer-ytdlp")
    assert (settings.youtube_overlay_least, settings.youtube_overlay_greatest) == ("2026.11.1", "2027.1.1")
    assert settings.youtube_extractors == ("soundcloud", "Bandcamp")


def test_nothing_said_of_sources_leaves_what_the_separator_does_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = operator_settings(case("default"), tmp_path, monkeypatch)
    assert settings.youtube_enabled
    assert source_environment(settings) == []
    assert source_volumes(settings, "Always") == source_mounts(settings) == []
