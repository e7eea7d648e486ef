"""What the pages state of the code, of the chart and of measurements is so."""

import os
import re
import subprocess
from pathlib import Path
from typing import Final, get_args

import pytest
from fastapi.routing import APIRoute

from bench.separation.figures import parsed
from charts.crd import custom_resource_definition
from stemyard_api.app import _ROUTES, create_app
from stemyard_api.dependencies import AdminDep, CallerDep, ReaderDep, SubmitterDep
from stemyard_api.schemas.examples import CAPABILITIES
from stemyard_api.schemas.requests import SeparationRequest
from stemyard_api.settings import Settings as ApiSettings
from stemyard_contract.output import ALL_BIT_DEPTHS, BIT_DEPTHS, BITRATES, DEFAULT_BITRATE
from stemyard_contract.separationjob import SeparationJobSpec
from stemyard_contract.webhook import RETRY_SCHEDULE
from stemyard_operator.config.settings import Settings as OperatorSettings
from stemyard_operator.config.webhook_endpoints import parse
from stemyard_operator.decision.webhook_targets import targets
from stemyard_separator.cli.arguments import parse as parse_run
from tests.api.settings_for_tests import settings as api_settings
from tests.chart.rendered import BUCKET, find, render
from tests.operator.model.registered import registrations, webhook
from tests.operator.world import SPEC, settings
from tests.release.test_docs import PAGES, ROOT, page
from tests.support.command_blocks import blocks

RESULTS: Final = ROOT / "bench/results"
SIZING: Final = {
    "separation-spleeter.txt": (
        "{spleeter.separate_3_min:.1f} to {spleeter.separate_60_min:.1f} times real time",
        "{spleeter.separate_peak_3_min:.0f} to {spleeter.separate_peak_60_min:.0f} MiB at 3 to 60 minutes",
        "{spleeter.first_block_3_min:.1f} s after the start",
        "{spleeter.fetch_peak_3_min:.0f} to {spleeter.fetch_peak_60_min:.0f} MiB, independent",
        "{spleeter.pipeline_3_min:.1f} times real time at 3 minutes, {spleeter.pipeline_60_min:.1f} times at 60",
    ),
    "separation-demucs.txt": (
        "{demucs.cpu_two_stems_speed:.2f} to {demucs.cpu_four_stems_speed:.2f} times real time per core",
        "{demucs.cpu_four_stems_against_stock:.2f} times stock demucs for four stems",
        "{demucs.cpu_two_stems_against_stock:.2f} times for vocals and instrumental",
    ),
    "separation-demucs-gpu.txt": (
        "{demucs.cuda_four_stems_speed:.0f} times real time for four stems",
        "{demucs.cuda_two_stems_speed:.0f} times for vocals and instrumental",
        "{demucs.separate_3_min:.0f} times at 3 minutes, {demucs.separate_10_min:.0f} times at 10",
    ),
    "operator.txt": (
        "{operator.rate:.1f} separations a second, {operator.cpu:.0f} ms of CPU each",
        "at most {operator.memory_peak:.0f} MiB with 10,000 completed ones",
    ),
    "api.txt": ("{api.get_cpu:.0f} us of CPU for a `GET /job`",),
    "images.txt": (
        "API {images.api_compressed:.0f} MiB, operator {images.operator_compressed:.0f} MiB",
        "{images.separator_cpu_compressed:.0f} MiB; {images.base_compressed:.0f} MiB of each",
    ),
}
"""Figures of the installation page, by the file of results that has them."""
COST: Final = {
    "cost.txt": (
        "to its end | {cost.held_3_min:.1f} |",
        "computes, four stems | {cost.busy_four_stems_3_min:.2f} |",
        "computes, two stems | {cost.busy_two_stems_3_min:.2f} |",
        "| 0.78 | {cost.1000_songs_L4:.2f} |",
        "| 2.45 | {cost.1000_songs_A100_80GB:.2f} |",
        "| 4.76 | {cost.1000_songs_H100:.2f} |",
        "| 6.35 | {cost.1000_songs_H200:.2f} |",
        "| {cost.day_hit_rate:.1f} % |",
        "on average | {cost.day_mean_one_job_each:.1f} |",
        "for each separation | {cost.day_needed_one_job_each:.0f} |",
        "while the network computes | {cost.day_needed_if_held_only_while_busy:.0f} |",
    )
}
"""Figures of the page about costs."""
OF_TESTS: Final = {"CLOUDFLARE_API_URL", "WEBHOOK_BREAKER_SECONDS", "WORKERS"}
"""Settings that only tests change."""


def text(name: str) -> str:
    return (ROOT / name).read_text()


def columns(cells: str) -> set[str]:
    """Names of columns in a comment such as `Job, duration, attempts`."""
    return {word.strip().lower() for word in cells.split(",")}


@pytest.mark.parametrize(
    ("name", "file", "templates"),
    [
        *(("07-install.md", file, templates) for file, templates in SIZING.items()),
        *(("19-cost.md", file, templates) for file, templates in COST.items()),
    ],
)
def test_figures_are_those_of_the_results(name: str, file: str, templates: tuple[str, ...]) -> None:
    results = parsed((RESULTS / file).read_text())

    def figure(found: re.Match[str]) -> str:
        return format(results[found[1]], found[2])

    stated = text(f"docs/{name}")
    for template in templates:
        assert re.sub(r"\{([^:}]+):([^}]+)\}", figure, template) in stated


def test_figures_are_stated_on_one_page_only() -> None:
    assert [path.name for path in PAGES if "of CPU for a `GET /job`" in path.read_text()] == ["07-install.md"]
    assert re.findall(r"\d MiB|\d GiB", text("docs/11-faq.md")) == []


def test_webhook_addresses_are_in_the_order_of_the_table() -> None:
    table = text("docs/03-webhooks.md").partition("| address |")[2].partition("\n\n")[0]
    names = [row.split("|")[1].strip() for row in table.splitlines()[2:]]
    of_url = {
        "https://all.example.com/": "`webhooks.url` of the chart (`WEBHOOK_URL`)",
        "https://endpoint.example.com/": "`webhooks.endpoints` of the chart",
        "https://spec.example.com/": "`spec.webhooks[].url` of a SeparationJob",
        "https://claim.example.com/": "`webhook_url` of a request",
        "https://registered.example.com/": "a [registered webhook](#register-webhooks) (`POST /webhooks`)",
    }
    everything, endpoint, own, claim, registered = of_url
    spec = SeparationJobSpec.model_validate(
        {**SPEC, "webhooks": [{"url": own}], "claims": [{"key": "a", "webhook": claim}]}
    )
    endpoints = parse(f'endpoints: [{{name: e, url: "{endpoint}", keys: ["*"]}}]')
    found = targets(spec, settings(webhook_url=everything), endpoints, registrations(a=[webhook(1, registered)]))
    assert [of_url[one.url] for one in found] == names


def test_the_retry_schedule_is_the_codes() -> None:
    seconds = {"s": 1, "min": 60, "h": 3600}
    [stated] = re.findall(r"immediately, then after ([^,]+(?:, [^,]+)*), each delayed", text("docs/03-webhooks.md"))
    pauses = [float(number) * seconds[unit] for number, unit in re.findall(r"(\d+) (\w+)", stated)]
    assert (0.0, *pauses) == RETRY_SCHEDULE == settings().webhook_schedule
    assert settings(webhook_schedule="0,0.5,7").webhook_schedule == (0, 0.5, 7)


def test_only_the_contract_lists_bit_rates_and_bit_depths() -> None:
    numbers = re.compile("|".join(rf"\b{', '.join(map(str, values[:2]))}\b" for values in (BITRATES, ALL_BIT_DEPTHS)))
    folders = ("api", "contract", "operator", "separator-image")
    modules = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    naming = {page(path) for path in modules if numbers.search(path.read_text())}
    assert naming == {"contract/stemyard_contract/output.py"}


def test_bit_rates_and_bit_depths_are_those_of_the_contract() -> None:
    stated = text("docs/01-separator.md")
    assert f"| `bitrate` {', '.join(map(str, BITRATES))}; or" in stated
    for name, depths in BIT_DEPTHS.items():
        [row] = [line for line in stated.splitlines() if line.startswith(f"| `{name}` |")]
        options = row.split("|")[3].partition("; ")[0]
        assert tuple(map(int, re.findall(r"\b\d+\b", options))) == depths
    for value in (*BITRATES, DEFAULT_BITRATE):
        assert parse_run(["song.mp3", "--bitrate", str(value)]).bitrate == value
    schema = SeparationRequest.model_json_schema()["properties"]
    assert schema["bitrate"]["enum"] == list(BITRATES)
    assert repr({"name": "mp3", "bitrates": list(BITRATES)}) in repr(CAPABILITIES["formats"])


def test_wide_columns_are_listed() -> None:
    [version] = custom_resource_definition()["spec"]["versions"]
    wide = {column["name"].lower() for column in version["additionalPrinterColumns"] if column["priority"]}
    [on_page] = re.findall(r"# -o wide adds: (.+)", text("docs/04-kubectl.md"))
    assert columns(on_page) == wide
    named = {column["name"].lower() for column in version["additionalPrinterColumns"]}
    [contributing] = re.findall(r"separationjobs -o wide +# (.+)", text("CONTRIBUTING.md"))
    assert columns(contributing) <= named


@pytest.mark.parametrize("path", PAGES, ids=page)
def test_commands_in_a_pod_name_its_namespace(path: Path) -> None:
    assert re.findall(r"(?m)^.*kubectl exec.*$", path.read_text()) == []


def test_secrets_for_argo_cd_are_those_the_chart_makes(tmp_path: Path) -> None:
    [commands] = [one.code for one in blocks(ROOT / "docs/07-install.md") if one.code.startswith("id=")]
    kubectl = tmp_path / "kubectl"
    kubectl.write_text('#!/bin/sh\nprintf "%s\\0" "$@" >> "$KUBECTL_CALLS"; printf "\\n\\0" >> "$KUBECTL_CALLS"\n')
    kubectl.chmod(0o755)
    calls = tmp_path / "calls"
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "KUBECTL_CALLS": str(calls)}
    subprocess.run(["bash", "-euc", commands], env=environment, check=True, timeout=30)
    given = dict(
        argument.removeprefix("--from-literal=").split("=", 1)
        for argument in calls.read_text().split("\0")
        if argument.startswith("--from-literal=")
    )
    password = re.findall(r"redis://stemyard:(\w+)@", given["REDIS_URL"])[0]
    rendered = render({**BUCKET, "install": {"id": "songs-production"}, "valkey": {"password": password}})
    made = find(rendered, "Secret", "tunes-redis")["stringData"]
    assert given["users.acl"].splitlines() == made["users.acl"].splitlines()
    assert given["REDIS_URL"] == made["REDIS_URL"].replace("tunes", "stemyard").replace(".songs.", ".stemyard.")
    assert {"API_SECRET_KEY", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY"} <= given.keys()


def endpoints_of_the_api() -> list[str]:
    """First column of the table of endpoints."""
    table = text("api/README.md").partition("## Endpoints")[2].partition("|---|---|---|\n")[2].partition("\n\n")[0]
    return [row.split("|")[1].strip() for row in table.splitlines()]


def test_every_endpoint_is_in_the_table_once() -> None:
    document = create_app(api_settings()).openapi()
    served = [f"`{method.upper()} {path}`" for path, methods in document["paths"].items() for method in methods]
    listed = [cell.partition("?")[0].rstrip("`") + "`" for cell in endpoints_of_the_api()]
    assert sorted(cell for cell in listed if cell in served) == sorted(served)
    further = ["`GET /`", "`GET /docs`, `/openapi.json`", "`GET /livez`, `/readyz`"]
    assert [cell for cell in listed if cell not in served] == further


def test_the_table_has_the_scope_of_every_endpoint() -> None:
    words = {SubmitterDep: "submit", ReaderDep: "read", AdminDep: "admin", CallerDep: "any scope"}
    word_of = {get_args(each)[1].dependency: word for each, word in words.items()}
    table = text("api/README.md").partition("## Endpoints")[2].partition("|---|---|---|\n")[2].partition("\n\n")[0]
    cells = [[cell.strip() for cell in row.split("|")] for row in table.splitlines()]
    stated = {row[1].partition("?")[0].strip("`"): row[2].partition(",")[0] for row in cells}
    routes = [route for module in _ROUTES for route in module.router.routes]
    documented = [route for route in routes if isinstance(route, APIRoute) and route.include_in_schema]
    required = {
        f"{method} {route.path}": next((word_of[one.call] for one in dependencies if one.call in word_of), "no key")
        for route in documented
        for method in route.methods or ()
        for dependencies in [route.dependant.dependencies]
    }
    assert {name: stated.get(name) for name in required} == required


def test_every_field_of_a_request_is_in_the_table() -> None:
    [row] = [line for line in text("api/README.md").splitlines() if line.startswith("| `POST /separate-audio`")]
    assert SeparationRequest.model_fields.keys() - set(re.findall(r"`(\w+)`", row)) == set()


def test_every_setting_of_the_api_is_in_the_table() -> None:
    settings_table = text("api/README.md").partition("## Settings\n")[2]
    stated = set(re.findall(r"`([A-Z][A-Z0-9_]+)\b", settings_table))
    assert {name.upper() for name in ApiSettings.model_fields} - stated <= OF_TESTS


def test_every_setting_of_the_operator_is_the_chart_s_or_documented() -> None:
    """One that is declared alone can be found by nobody."""
    chart = "".join(path.read_text() for path in (ROOT / "charts/stemyard/templates").rglob("*.*"))
    pages = "".join(path.read_text() for path in PAGES)
    told = set(re.findall(r"\b[A-Z][A-Z0-9_]+\b", chart + pages))
    assert {name.upper() for name in OperatorSettings.model_fields} - told <= OF_TESTS
