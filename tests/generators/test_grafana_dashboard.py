"""The dashboard's JSON against the types that Grafana publishes, which are made from its schema."""

import copy
import json
from pathlib import Path
from typing import Any, Final

from tests.chart.test_monitoring import dashboard
from tests.support import client_tools

TYPES: Final = Path(__file__).with_name("grafana-dashboard.ts")
FAULTS: Final[tuple[tuple[tuple[Any, ...], Any], ...]] = (
    (("panels", 0, "gridPosition"), {"x": 0, "y": 0, "w": 8, "h": 8}),
    (("panels", 0, "gridPos", "w"), "8"),
    (("panels", 0, "type"), "graph"),
    (("panels", 0, "options", "legend", "displayMode"), "lists"),
    (("panels", 0, "options", "colorMode"), "value"),
    (("panels", 0, "fieldConfig", "defaults", "minimum"), 0),
    (("panels", 0, "targets", 0, "expression"), "1"),
    (("templating", "list", 0, "type"), "source"),
    (("templating", "list", 1, "refresh"), 7),
    (("schemaVersion",), "39"),
)
"""A place in the dashboard, and a value there that Grafana would ignore or refuse."""


def spoilt(place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    found = copy.deepcopy(dashboard())
    at: Any = found
    for step in place[:-1]:
        at = at[step]
    at[place[-1]] = value
    return found


def test_the_dashboard_has_grafanas_types(tmp_path: Path) -> None:
    """So that the check is known to be strict, each of FAULTS must be an error."""
    lines = ['import type { Checked } from "./grafana-dashboard";']
    lines.append(f"export const dashboard: Checked = {json.dumps(dashboard())};")
    for number, fault in enumerate(FAULTS):
        lines += ["// @ts-expect-error", f"export const fault{number}: Checked = {json.dumps(spoilt(*fault))};"]
    (tmp_path / "dashboard.ts").write_text("\n".join(lines))
    (tmp_path / TYPES.name).write_text(TYPES.read_text())
    modules = client_tools.node_modules()
    (tmp_path / "node_modules").symlink_to(modules)
    options = ["--strict", "--noEmit", "--skipLibCheck", "--module", "esnext", "--moduleResolution", "bundler"]
    client_tools.call(["node", modules / "typescript/bin/tsc", *options, "dashboard.ts"], tmp_path)
