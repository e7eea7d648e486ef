"""Generates all generated files: CRDs, OpenAPI document, pages of the docs, the chart's schema and table of values."""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import yaml

from charts.api_document import api_document
from charts.crd import custom_resource_definition, definition_file, key_webhooks_definition
from charts.described_values import Value, read_values
from charts.failure_reference import failure_reference
from charts.reference import reference
from charts.values_schema import values_schema
from documentation.api_reference import api_reference
from documentation.benchmarks import benchmark_page, benchmark_plots
from documentation.command_reference import command_reference, kubectl_reference
from documentation.metrics_reference import metrics_reference
from documentation.tools_reference import tools_reference

ROOT: Final = Path(__file__).resolve().parents[1]
CHART: Final = ROOT / "charts/stemyard"
_BEGIN: Final = "<!-- values: made by `python -m charts.generate` -->\n"
_END: Final = "<!-- end of values -->\n"
_LONG_DEFAULT: Final = 60


def generated_files() -> Mapping[Path, str]:
    """Return the contents of all generated files of the repository by path."""
    return {
        CHART / "files/crds/separationjobs.yaml": definition_file(custom_resource_definition()),
        CHART / "files/crds/keywebhooks.yaml": definition_file(key_webhooks_definition()),
        ROOT / "api/openapi.json": api_document(),
        ROOT / "docs/14-reference.md": reference(),
        ROOT / "docs/16-failure-codes.md": failure_reference(),
        ROOT / "docs/reference/api.md": api_reference(),
        ROOT / "docs/reference/command-line.md": command_reference(),
        ROOT / "docs/reference/kubectl.md": kubectl_reference(),
        ROOT / "docs/reference/metrics.md": metrics_reference(),
        ROOT / "docs/reference/tools-for-agents.md": tools_reference(),
        ROOT / "docs/benchmarks.md": benchmark_page(),
        **{ROOT / "docs" / path: drawing for path, drawing in benchmark_plots().items()},
        **generated(CHART),
    }


def generated(chart: Path) -> Mapping[Path, str]:
    """Return the contents of the generated files of a chart by path."""
    values = read_values((chart / "values.yaml").read_text())
    name = yaml.safe_load((chart / "Chart.yaml").read_text())["name"]
    schema = values_schema(values, f"Values of the {name} chart")
    readme = chart / "README.md"
    return {
        chart / "values.schema.json": json.dumps(schema, indent=2) + "\n",
        readme: with_table(readme.read_text(), values),
    }


def with_table(readme: str, values: Iterable[Value]) -> str:
    """Return the README with the table of values between its markers.

    Raises:
        ValueError: a marker is missing.
    """
    before, begin, rest = readme.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"README.md lacks the lines {_BEGIN!r} and {_END!r}")
    return before + begin + _table(values) + end + after


def _table(values: Iterable[Value]) -> str:
    rows = [f"| `{leaf.name}` | {_default(leaf)} | {leaf.description} |\n" for top in values for leaf in top.leaves()]
    return "\n| Value | Default | Meaning |\n|---|---|---|\n" + "".join(rows) + "\n"


def _default(value: Value) -> str:
    text = json.dumps(value.default)
    return f"`{text}`" if len(text) <= _LONG_DEFAULT else "see `values.yaml`"


def main() -> int:
    """Write the files, or with `--check` report stale ones; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is stale")
    check = parser.parse_args().check
    files = generated_files().items()
    stale = {path: text for path, text in files if not path.exists() or path.read_text() != text}
    for path, text in stale.items():
        if check:
            sys.stderr.write(f"{path.relative_to(ROOT)} is stale: run `make generate`\n")
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
