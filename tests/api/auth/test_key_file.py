"""The file of keys: hashed, strict, reloaded when it changes; and the command that creates an entry."""

import asyncio
import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from stemyard_api.app import create_app
from stemyard_api.auth import key_file as keys
from stemyard_api.auth.api_keys import Keyring, Scope
from stemyard_api.auth.key_file import KeyFileError, load_keyring, parse, watch_key_file
from stemyard_api.errors import UnauthenticatedError
from tests.api.settings_for_tests import KEY, settings

COMMAND = [str(Path(sys.executable).with_name("stemyard-api")), "keys", "new"]
DEPRECATED_COMMAND = [sys.executable, "-m", "stemyard_api.keys", "new"]


def run(*arguments: str, command: Sequence[str] = COMMAND) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60, check=False)


def key_and_entry(key_id: str, scopes: str = "submit,read") -> tuple[str, str]:
    ended = run("--id", key_id, "--scopes", scopes)
    assert ended.returncode == 0, ended.stderr
    return ended.stderr.split()[-1], ended.stdout


def test_the_command_creates_a_working_key(tmp_path: Path) -> None:
    key, entry = key_and_entry("team-a", "submit,read")
    assert key not in entry
    file = tmp_path / "keys.yaml"
    file.write_text("keys:\n" + entry)
    principal = load_keyring(settings(api_keys_file=str(file))).identify(key.encode())
    assert (principal.key_id, principal.scopes) == ("team-a", frozenset({Scope.SUBMIT, Scope.READ}))
    assert load_keyring(settings(api_keys_file=str(file))).identify(KEY.encode()).is_admin


def test_the_command_names_namespaces(tmp_path: Path) -> None:
    ended = run("--id", "team-a", "--namespace", "songs", "--namespace", "team-a")
    assert ended.returncode == 0, ended.stderr
    [entry] = parse("keys:\n" + ended.stdout)
    assert entry.principal.namespaces == frozenset({"songs", "team-a"})
    assert "namespaces" not in run("--id", "team-a").stdout
    refused = run("--id", "team-a", "--namespace", "Songs")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "namespaces.0" in refused.stderr


def test_the_deprecated_spelling_works_with_a_hint() -> None:
    ended = run("--id", "team-a", command=DEPRECATED_COMMAND)
    hint, key = ended.stderr.splitlines()
    assert "use `stemyard-api keys`" in hint
    assert key.split()[-1] not in ended.stdout
    assert parse("keys:\n" + ended.stdout)[0].principal.key_id == "team-a"
    assert "deprecated" not in run("--id", "team-a").stderr


@pytest.mark.parametrize("command", [COMMAND, DEPRECATED_COMMAND])
@pytest.mark.parametrize("arguments", [["--id", "a b"], ["--id", "a", "--scopes", "fly"], ["--scopes", "read"]])
def test_the_command_reports_invalid_arguments(arguments: list[str], command: list[str]) -> None:
    ended = run(*arguments, command=command)
    assert ended.returncode == 2
    assert "error:" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not ended.stdout


GOOD = {"id": "team-a", "sha256": "0" * 64, "scopes": ["read"]}


def test_the_file_may_be_json_with_limits() -> None:
    limits = {"submits_per_minute": 5, "concurrent": 2, "minutes_per_day": 12.5}
    [entry] = parse(json.dumps({"keys": [{**GOOD, "limits": limits, "expires_at": "2030-01-01T00:00:00Z"}]}))
    assert entry.expires_at == 1893456000.0
    found = entry.principal.limits
    assert (found.submits_per_minute, found.reads_per_minute, found.concurrent) == (5, None, 2)
    assert parse("") == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "not valid"),
        ("[]", "API_KEYS_FILE"),
        (yaml.safe_dump({"keys": [{**GOOD, "sha256": "hunter2"}]}), "keys.0.sha256"),
        (yaml.safe_dump({"keys": [{**GOOD, "sha256": hashlib.sha256(b"").hexdigest()}]}), "an empty key"),
        (yaml.safe_dump({"keys": [{**GOOD, "key": "hunter2"}]}), "keys.0.key"),
        (yaml.safe_dump({"keys": [{**GOOD, "scopes": []}]}), "keys.0.scopes"),
        (yaml.safe_dump({"keys": [{**GOOD, "id": "default"}]}), "default"),
        (yaml.safe_dump({"keys": [{**GOOD, "limits": {"concurrent": 0}}]}), "keys.0.limits.concurrent"),
        (yaml.safe_dump({"keys": [GOOD, {**GOOD, "id": "team-b"}]}), "of team-a is also that of another id"),
        ("keys: []\nkeys: []", "occurs twice"),
        (json.dumps({"keys": [GOOD]})[:-3] + ', "scopes": ["admin"]}]}', "occurs twice"),
        ("keys: [{expires_at: 2026-02-30}]", "a date that does not exist"),
        ("keys: !!int hunter2", "cannot read"),
        ("keys: !!bool hunter2", "cannot read"),
        ("keys: !!timestamp hunter2", "cannot read"),
        ("[" * 5000, "cannot read"),
    ],
)
def test_an_invalid_file_is_refused_without_quoting_it(text: str, told: str) -> None:
    with pytest.raises(KeyFileError, match=told) as caught:
        parse(text)
    assert "hunter2" not in str(caught.value)


def test_the_api_does_not_start_without_any_key(tmp_path: Path) -> None:
    empty = tmp_path / "keys.yaml"
    with pytest.raises(KeyFileError, match="cannot be read"):
        create_app(settings(api_keys_file=str(empty)))
    empty.write_text("keys: []")
    with pytest.raises(KeyFileError, match="no key"):
        create_app(settings(api_secret_key=None, api_keys_file=str(empty)))


async def test_changes_of_the_file_are_applied_unless_invalid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keys, "RELOAD_SECONDS", 0.02)
    (first, first_entry), (second, second_entry) = key_and_entry("first"), key_and_entry("second")
    file = tmp_path / "keys.yaml"
    file.write_text("keys:\n" + first_entry)
    found = settings(api_keys_file=str(file))
    ring = load_keyring(found)
    following = asyncio.create_task(watch_key_file(found, ring))

    async def opens(ring: Keyring, key: str) -> None:
        async with asyncio.timeout(10):
            while True:
                try:
                    ring.identify(key.encode())
                except UnauthenticatedError:
                    await asyncio.sleep(0.01)
                else:
                    return

    await opens(ring, first)
    file.write_text("keys: {")
    async with asyncio.timeout(10):
        while "not reloaded" not in caplog.text:  # noqa: ASYNC110 - a log has no event
            await asyncio.sleep(0.01)
    await opens(ring, first)
    file.write_text("keys:\n" + second_entry)
    await opens(ring, second)
    with pytest.raises(UnauthenticatedError):
        ring.identify(first.encode())
    following.cancel()
