"""The generated pages are complete, and say the same as the pages that people wrote."""

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Final

import pytest

from charts.api_document import api_document
from documentation.api_reference import api_reference
from documentation.benchmarks import PLOTS, RESULTS, benchmark_page, benchmark_plots
from documentation.command_reference import command_reference, kubectl_reference
from documentation.metrics_reference import metrics_reference
from documentation.plots import Bar, bars, short
from documentation.tables import cell, paragraphs, table
from documentation.tools_reference import tools_reference
from stemyard_kubectl.app import app as plugin
from stemyard_mcp.tools import SCOPES
from tests.chart.test_monitoring import offered
from tests.cli.test_program import commands
from tests.release.test_docs import anchors

ROOT: Final = Path(__file__).parents[2]
COMMANDS: Final = (ROOT / "docs/17-command-line.md").read_text()
_SVG: Final = "{http://www.w3.org/2000/svg}"


def test_every_operation_and_object_of_the_api_is_there_once() -> None:
    document, page = json.loads(api_document()), api_reference()
    served = [f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods]
    shown = re.findall(r"(?m)^`((?:GET|POST|PUT|PATCH|DELETE) [^`]+)`", page)
    assert sorted(shown) == sorted(served)
    headings = re.findall(r"(?m)^### (.+)$", page)
    assert set(document["components"]["schemas"]) <= set(headings)
    assert len({heading.lower() for heading in headings}) == len(headings)


def test_links_of_the_api_lead_to_its_objects() -> None:
    page = api_reference()
    linked = set(re.findall(r"\]\(#([^)]+)\)", page))
    assert len(linked) > 30
    assert linked <= anchors(page)


def test_requests_without_a_key_are_marked() -> None:
    page = api_reference()
    assert "`GET /health` (*no key*)" in page
    assert "`GET /job/{track_id}`\n" in page


def test_every_command_is_there_with_its_options() -> None:
    page = command_reference()
    assert sorted(re.findall(r"(?m)^## (.+)$", page)) == sorted([*commands(), "Exit codes"])
    run = page.partition("\n## run\n")[2].partition("\n## ")[0]
    assert all(f"`{option}" in run for option in ("FILE...", "--out", "--stems", "--bit-depth", "--residual"))
    assert "`-o, --out DIR`" in page.partition("\n## separate\n")[2].partition("\n## ")[0]


def test_no_usage_repeats_its_ellipsis() -> None:
    assert "{TRACK_ID}..." in command_reference()
    assert "......" not in (pages := command_reference() + kubectl_reference())
    assert "...}" not in pages


def test_every_command_of_the_plugin_is_there_with_its_options() -> None:
    page = kubectl_reference()
    named = [str(command.name) for command in plugin.registered_commands]
    assert sorted(re.findall(r"(?m)^## (.+)$", page)) == sorted([*named, "Exit codes"])
    assert "`-n, --namespace" in page.partition("\n## ")[0]
    assert "`--again`" in page.partition("\n## retry\n")[2].partition("\n## ")[0]
    assert "separations go on" in page.partition("\n## Exit codes\n")[2]


def test_every_tool_for_agents_is_there_with_its_arguments_scope_and_result() -> None:
    page = tools_reference()
    listed = re.findall(r"(?m)^\| `(\w+)` \|", COMMANDS.partition("| tool | what it does |\n")[2].partition("\n\n")[0])
    assert sorted(re.findall(r"(?m)^## Tool (.+)$", page)) == sorted(listed) == sorted(SCOPES)
    assert set(re.findall(r"\]\(#([^)]+)\)", page)) <= anchors(page)
    separate, wait, models = (
        page.partition(f"\n## Tool {name}\n")[2].partition("\n## ")[0] for name in ("separate", "wait", "models")
    )
    assert "scope of the key: `submit`" in separate
    assert "`query` | string | Words to search" in separate
    assert "[Track](#track)" in wait
    assert "`timeout_seconds` | integer (minimum 1, maximum 600)" in wait
    assert "scope of the key: any" in models


def rows_of_metrics(text: str) -> dict[str, tuple[str, str]]:
    """Types and labels by the name of a metric; a row may have several names, and then types."""
    found = {}
    for line in re.findall(r"(?m)^\| `stemyard_.+$", text):
        names, types, labels, *_ = (part.strip() for part in line.strip("|").split("|"))
        kinds = types.split(", ")
        for number, name in enumerate(re.findall(r"`(\w+)`", names)):
            found[name] = (kinds[min(number, len(kinds) - 1)], labels)
    return found


def test_every_metric_is_there_as_the_page_for_people_has_it() -> None:
    listed = rows_of_metrics(metrics_reference())
    assert listed == rows_of_metrics((ROOT / "docs/05-observability.md").read_text())
    series = {re.sub(r"_(bucket|sum|count)$", "", name) for name in offered() if name.startswith("stemyard_")}
    assert listed.keys() == series


def test_every_plot_draws_what_the_results_say() -> None:
    drawings = benchmark_plots()
    assert len(drawings) == len(PLOTS)
    for plot in PLOTS:
        lines = (RESULTS / plot.file).read_text().splitlines()
        values = {
            row.figure: float(line.split()[1])
            for row in plot.rows
            for line in lines
            if line.startswith(f"{row.figure} ")
        }
        root = ET.fromstring(drawings[f"images/benchmarks/{plot.name}.svg"])
        drawn = [text.text for text in root.iter(f"{_SVG}text")]
        for row in plot.rows:
            assert drawn[drawn.index(row.label) + 1] == short(values[row.figure])


def test_figures_that_miss_their_target_are_shown_as_such() -> None:
    page = benchmark_page()
    missed = [
        line.split()[0]
        for path in RESULTS.glob("*.txt")
        for line in path.read_text().splitlines()
        if line.endswith(" short") and not line.startswith("#")
    ]
    assert missed
    for name in missed:
        assert re.search(rf"(?m)^\| {re.escape(name)} \| .+ \| short \|$", page), name


def test_bars_are_as_long_as_their_values() -> None:
    root = ET.fromstring(bars("Speed & size", "<unit>", [Bar("one", 50), Bar("another", 200, own=False)]))
    widths = [float(rect.attrib["width"]) for rect in root.iter(f"{_SVG}rect")]
    assert widths[1] == pytest.approx(4 * widths[0], rel=0.01)
    assert [rect.attrib["class"] for rect in root.iter(f"{_SVG}rect")] == ["own", "other"]
    assert "Speed & size, <unit>" in [text.text for text in root.iter(f"{_SVG}text")]


@pytest.mark.parametrize(("value", "text"), [(1234.5, "1,234"), (282.3, "282"), (27.04, "27"), (0.74, "0.74")])
def test_numbers_are_short(value: float, text: str) -> None:
    assert short(value) == text


def test_cells_and_paragraphs_are_one_line_each() -> None:
    assert table(("a",), [("x | y\nz",)]) == "| a |\n| --- |\n| x \\| y z |\n"
    assert cell("`a|b`") == "`a\\|b`"
    assert paragraphs("one\n  two\n\nthree\n") == "one two\n\nthree"
