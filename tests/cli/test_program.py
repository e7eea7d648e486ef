"""Commands that need no installation."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stemyard_api.auth.key_file import parse
from stemyard_cli.app import app
from stemyard_cli.exit_codes import MEANINGS, ExitCode
from tests.cli.program import stemyard
from tests.support.http_server import Exchange, HttpServer

PAGE = (Path(__file__).parents[2] / "docs/17-command-line.md").read_text()


def commands() -> list[str]:
    groups = {group.name: group.typer_instance for group in app.registered_groups}
    below = [
        f"{name} {command.name}"
        for name, group in groups.items()
        if group is not None
        for command in group.registered_commands
    ]
    return [*(str(command.name) for command in app.registered_commands), *below]


def test_the_page_names_every_command_and_no_other() -> None:
    table = PAGE.partition("| command | what it does |\n|---|---|\n")[2].partition("\n\n")[0]
    named = [re.sub(r" [A-Z\[].*", "", row) for row in re.findall(r"(?m)^\| `([^`]+)` \|", table)]
    assert sorted(named) == sorted(commands())


def test_the_page_has_the_exit_codes() -> None:
    rows = dict(re.findall(r"(?m)^\| (\d+) \| (.+) \|$", PAGE))
    assert rows == {str(code.value): meaning for code, meaning in MEANINGS.items()}
    assert set(MEANINGS) == set(ExitCode)


@pytest.mark.parametrize("command", sorted({*commands()} - {"run"}))
def test_every_command_has_help(command: str) -> None:
    done = CliRunner().invoke(app, [*command.split(), "--help"])
    assert done.exit_code == 0, done.output
    assert "\x1b" not in done.output


def test_a_created_key_is_taken_by_the_api(tmp_path: Path) -> None:
    done = stemyard("keys", "new", "--id", "team-a", "--scopes", "submit, read", folder=tmp_path)
    [entry] = parse(f"keys:\n{done.stdout}")
    assert entry.principal.key_id == "team-a"
    assert sorted(entry.principal.scopes) == ["read", "submit"]
    assert done.stderr.startswith("stemyard_")
    assert done.stderr.strip() not in done.stdout
    assert stemyard("keys", "new", "--id", "a", "--scopes", "all", folder=tmp_path).returncode == ExitCode.USAGE


@pytest.mark.parametrize("key_id", ["", "a\nb", "-a", "a" * 64])
def test_a_key_of_a_name_that_the_api_refuses_is_not_made(key_id: str, tmp_path: Path) -> None:
    done = stemyard("keys", "new", "--id", key_id, folder=tmp_path)
    assert (done.returncode, done.stdout) == (ExitCode.USAGE, "")


@pytest.mark.parametrize(
    ("url", "key", "code"),
    [
        ("notaurl", "key", ExitCode.USAGE),
        ("http://[::1", "key", ExitCode.USAGE),
        ("http://host:port", "key", ExitCode.USAGE),
        ("http://127.0.0.1:9", "k\u00e9y", ExitCode.KEY),
        ("http://127.0.0.1:9", "key", ExitCode.UNREACHABLE),
    ],
)
def test_addresses_and_keys_that_are_none_have_the_documented_codes(
    url: str, key: str, code: ExitCode, tmp_path: Path
) -> None:
    done = stemyard("--url", url, "list", folder=tmp_path, STEMYARD_API_KEY=key)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("port", ["-1", "65536"])
def test_a_port_that_is_none_is_refused(port: str, tmp_path: Path) -> None:
    assert stemyard("webhooks", "listen", "--port", port, folder=tmp_path).returncode == ExitCode.USAGE


def test_nothing_is_deleted_unasked_where_nobody_can_be_asked(tmp_path: Path) -> None:
    done = stemyard("--url", "http://127.0.0.1:9", "delete", "t1", folder=tmp_path, STEMYARD_API_KEY="key")
    assert done.returncode == ExitCode.USAGE
    assert "--yes" in done.stderr


@pytest.mark.parametrize("command", [("cancel",), ("retry",), ("delete", "--yes"), ("webhooks", "remove")])
def test_one_that_fails_ends_no_other(command: tuple[str, ...], tmp_path: Path) -> None:
    outcomes = ("cancelled", "deleted", "claim_removed")

    def route(exchange: Exchange) -> None:
        if "t2" in exchange.route_path:
            body = {"track_id": "t2", "status": "failed", "progress": 0, **dict.fromkeys(outcomes, True)}
            return exchange.answer(200, json.dumps(body).encode())
        problem = {"detail": "No track has this id.", "code": "TRACK_NOT_FOUND", "status": 404}
        return exchange.answer(404, json.dumps(problem).encode(), Content_Type="application/problem+json")

    with HttpServer(route) as server:
        done = stemyard("--url", server.url, *command, "t1", "t2", folder=tmp_path, STEMYARD_API_KEY="key")
    assert done.returncode == ExitCode.NOT_FOUND, done.stderr
    assert done.stdout.startswith("t2\t"), done.stderr
    assert done.stderr.startswith("t1: ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions_are_scripts(shell: str, tmp_path: Path) -> None:
    done = stemyard("completion", shell, folder=tmp_path)
    assert "_STEMYARD_COMPLETE" in done.stdout
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=done.stdout, text=True, check=True)


def test_without_an_installation_it_says_what_to_do(tmp_path: Path) -> None:
    done = stemyard("list", folder=tmp_path)
    assert done.returncode == ExitCode.USAGE
    assert "stemyard login" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unreachable_service_is_named(tmp_path: Path) -> None:
    done = stemyard("--url", "http://127.0.0.1:9", "get", "x", folder=tmp_path, STEMYARD_API_KEY="key")
    assert done.returncode == ExitCode.UNREACHABLE
    assert "could not be reached" in done.stderr


def test_settings_are_stored_and_the_key_is_masked(tmp_path: Path) -> None:
    assert stemyard("config", "key", "secret-key-of-mine", folder=tmp_path).returncode == ExitCode.USAGE
    assert stemyard("config", "key", "-", folder=tmp_path, stdin="secret-key-of-mine\n").returncode == 0
    assert stemyard("config", "key", folder=tmp_path).stdout == "secret-key-of-mine\n"
    assert stemyard("config", "url", "https://host", folder=tmp_path).returncode == 0
    shown = stemyard("config", folder=tmp_path).stdout
    assert "https://host" in shown
    assert "secret-key" not in shown
    assert stemyard("config", "colour", "x", folder=tmp_path).returncode == ExitCode.USAGE
    assert stemyard("config", "url", "--unset", folder=tmp_path).returncode == 0
    assert stemyard("config", "url", folder=tmp_path).stdout == "\n"
