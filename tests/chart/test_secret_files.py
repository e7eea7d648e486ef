"""With secrets as files, no pod has one in its environment, and each part reads them where the chart mounts them."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stemyard_api.settings import SettingsError
from stemyard_api.settings import load_settings as load_api_settings
from stemyard_contract.handover import WorkStage
from stemyard_operator.config.settings import load_settings as load_operator_settings
from stemyard_operator.errors import ConfigurationError
from stemyard_operator.jobs.manifest import build_job
from tests.chart.rendered import Object, case, containers, environment, find, pods
from tests.operator.jobs.test_manifest import MARK, separation

REFUSED = (SettingsError, ConfigurationError)
VALUES = {
    "REDIS_URL": "redis://:hunter2@cache:6379/0",
    "R2_SECRET_ACCESS_KEY": "hunter2-bucket",
    "API_SECRET_KEY": "hunter2-key",
    "CLOUDFLARE_API_TOKEN": "hunter2-kv",
    "WEBHOOK_MASTER_SECRET": "hunter2-of-registered-webhooks-0123456789",
}


def of_all_pods(objects: list[Object]) -> Iterator[Object]:
    for pod in pods(objects):
        yield from pod["spec"]["containers"]


def test_no_pod_has_a_secret_in_its_environment() -> None:
    objects = case("secret files")
    found = [
        (container["name"], variable["name"])
        for container in of_all_pods(objects)
        for variable in container.get("env", [])
        if "secretKeyRef" in variable.get("valueFrom", {})
    ]
    assert found == []
    assert not any("envFrom" in container for container in of_all_pods(objects))


def mounted(objects: list[Object], name: str, folder: Path) -> Path:
    """What the kubelet mounts at the folder of secrets of a container's pod: files in a hidden folder, by links."""
    [pod] = [one for one in pods(objects) if one["spec"]["containers"][0]["name"] == name]
    [volume] = [one for one in pod["spec"]["volumes"] if one["name"] == "secrets"]
    data = folder / "..data"
    data.mkdir(parents=True)
    for source in volume["projected"]["sources"]:
        for item in source["secret"]["items"]:
            if not item["key"].endswith("_PREVIOUS"):  # optional, and not there
                (data / item["path"]).write_text(VALUES.get(item["key"], f"from-{item['key']}") + "\n")
                (folder / item["path"]).symlink_to(data / item["path"])
    return folder


def place(objects: list[Object], name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give this process the environment of a container, with what is mounted."""
    secrets = mounted(objects, name, folder)
    for variable, value in environment(objects, name).items():
        monkeypatch.setenv(variable, value.replace("/etc/stemyard-secrets", str(secrets)))
    listed = os.environ["STEMYARD_SECRET_FILES"].split(",")
    monkeypatch.setenv("STEMYARD_SECRET_FILES", ",".join(one for one in listed if str(secrets) in one))


def test_the_api_reads_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place(case("secret files"), "api", tmp_path / "secrets", monkeypatch)
    settings = load_api_settings()
    assert settings.api_secret_key is not None
    assert settings.api_secret_key.get_secret_value() == "hunter2-key"
    assert settings.redis_address == VALUES["REDIS_URL"]
    assert settings.storage_configured
    assert settings.kv_configured
    assert settings.webhook_master_secret is not None
    assert settings.webhook_master_secret_previous is None


def test_the_operator_reads_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = case("secret files")
    place(objects, "operator", tmp_path / "secrets", monkeypatch)
    for name, text in find(objects, "ConfigMap", "tunes-operator")["data"].items():
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("PROFILES_FILE", str(tmp_path / "profiles.yaml"))
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "WEBHOOK_SECRET").write_text("0123456789abcdef")
    monkeypatch.setenv("WEBHOOK_SECRETS_DIR", str(hooks))
    settings = load_operator_settings()
    assert settings.redis_address == VALUES["REDIS_URL"]
    assert settings.r2_secret_access_key == "hunter2-bucket"
    assert settings.webhook_master_secrets == (VALUES["WEBHOOK_MASTER_SECRET"],)
    for stage in WorkStage:
        manifest: Any = build_job(separation(), stage, 1, settings, fetched=MARK).manifest
        [container] = manifest["spec"]["template"]["spec"]["containers"]
        assert not any("secretKeyRef" in one.get("valueFrom", {}) for one in container["env"])
        variables = {one["name"]: one.get("value") for one in container["env"]}
        assert ("STEMYARD_YOUTUBE_PROXY_FILE" in variables) is (stage is WorkStage.FETCH)


@pytest.mark.parametrize("part", ["api", "operator"])
def test_a_secret_that_is_missing_is_named(part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place(case("secret files"), part, tmp_path / "secrets", monkeypatch)
    (tmp_path / "secrets" / "REDIS_URL").unlink()
    load = load_api_settings if part == "api" else load_operator_settings
    with pytest.raises(REFUSED, match="the Secret redis does not exist or has no key REDIS_URL") as refused:
        load()
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("part", ["api", "operator"])
def test_a_secret_that_is_given_twice_is_refused(part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place(case("secret files"), part, tmp_path / "secrets", monkeypatch)
    monkeypatch.setenv("REDIS_URL", "redis://:hunter2@other:6379/0")
    load = load_api_settings if part == "api" else load_operator_settings
    with pytest.raises(REFUSED, match="REDIS_URL: set as variable, and given as file") as refused:
        load()
    assert "hunter2" not in str(refused.value)


def test_by_default_they_are_the_variables_of_the_original_service() -> None:
    names = {"API_SECRET_KEY", "REDIS_URL", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY"}
    [api] = [one for one in containers(case("default")) if one["name"] == "api"]
    assert names <= {one["name"] for one in api["env"] if "secretKeyRef" in one.get("valueFrom", {})}
