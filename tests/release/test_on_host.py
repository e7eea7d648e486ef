"""`make run-operator` and `make run-api` build an environment that the parts accept."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from demo.host_environment import in_cluster, missing, of_release, with_reachable_store, without_release
from demo.on_host import main
from stemyard_api.settings import load_settings as load_api_settings
from stemyard_operator.config.settings import load_settings as load_operator_settings
from tests.chart.rendered import NAMESPACE, RELEASE, Object, case, find, of_kind

ROOT = Path(__file__).parents[2]
PARTS = ("operator", "api")
CREDENTIALS = {"R2_ACCESS_KEY_ID": "key", "R2_SECRET_ACCESS_KEY": "secret"}

each_part = pytest.mark.parametrize("part", PARTS)


def environment(name: str, part: str, folder: Path) -> dict[str, str]:
    """The environment of a part of one of the chart's cases, as if the case were installed."""
    objects = case(name)

    def lookup(kind: str, wanted: str) -> Mapping[str, Any]:
        kinds = {"configmap": "ConfigMap", "secret": "Secret"}
        found: list[Object] = [one for one in of_kind(objects, kinds[kind]) if one["metadata"]["name"] == wanted]
        return found[0] if found else {}

    return of_release(part, find(objects, "Deployment", f"{RELEASE}-{part}"), lookup, folder)


def load(part: str, values: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Have the part read its settings from these variables; return the store's address that it found."""
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    if part == "api":
        return load_api_settings().store_endpoint or ""
    return load_operator_settings().endpoint_url or ""


@each_part
def test_the_target_runs_the_part(part: str) -> None:
    command = ["make", "--dry-run", f"run-{part}", "RELEASE=songs"]
    planned = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert f"python -m demo.on_host {part} --release songs --namespace songs" in planned


@each_part
def test_a_releases_settings_are_complete(part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = with_reachable_store(environment("demo", part, tmp_path))
    assert missing(values) == []
    assert load(part, values, monkeypatch) == "http://192.0.2.7:30900"
    assert in_cluster(values["REDIS_URL"])


def test_files_of_config_maps_and_secrets_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = environment("kept", "operator", tmp_path)
    load("operator", values, monkeypatch)
    assert Path(values["PROFILES_FILE"]).is_relative_to(tmp_path)
    assert "default" in load_operator_settings().profiles
    assert (Path(values["WEBHOOK_SECRETS_DIR"]) / "WEBHOOK_SECRET").read_text()
    assert values["POD_NAMESPACE"] == NAMESPACE
    assert "POD_NAME" not in values


@each_part
def test_defaults_are_complete_but_for_the_stores_credentials(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = without_release(part, "songs")
    assert missing(values) == [f"{name} is not set" for name in CREDENTIALS]
    assert missing(values | CREDENTIALS) == []
    assert load(part, values | CREDENTIALS, monkeypatch) == "http://127.0.0.1:7070"


def test_a_store_that_only_pods_reach_is_named(tmp_path: Path) -> None:
    values = with_reachable_store(environment("kept", "operator", tmp_path))
    [problem] = missing(values | CREDENTIALS)
    assert "which only pods can reach" in problem


@each_part
def test_without_a_cluster_it_says_so(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "kubectl").write_text("#!/bin/sh\necho 'connection refused' >&2; exit 1\n")
    (tmp_path / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    assert main([part]) == 1
    assert "connection refused" in capsys.readouterr().err
