"""The import contracts of `pyproject.toml`: each holds, and each fails for the import that it forbids."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("contract", "api", "operator", "separator-image", "client", "cli")
FORBIDDEN = {
    "parts": ("api/stemyard_api/services/forbidden.py", "import stemyard_operator.errors"),
    "contract-io": ("contract/stemyard_contract/forbidden.py", "import socket"),
    "machine-learning": ("operator/stemyard_operator/jobs/forbidden.py", "import torch"),
    "separator-clients": ("separator-image/stemyard_separator/transfer/forbidden.py", "import boto3"),
    "operator-layers": (
        "operator/stemyard_operator/decision/forbidden.py",
        "import stemyard_operator.reconciler.reconciler",
    ),
    "api-layers": ("api/stemyard_api/services/forbidden.py", "import stemyard_api.routes.jobs"),
    "separator-layers": (
        "separator-image/stemyard_separator/audio/forbidden.py",
        "import stemyard_separator.stages.fetch",
    ),
    "client-layers": ("client/stemyard_client/effects.py", "import stemyard_client.client"),
    "cli-layers": ("cli/stemyard_cli/output.py", "import stemyard_cli.app"),
    "cli-parts": ("cli/stemyard_cli/commands/forbidden.py", "import stemyard_operator.errors"),
    "kubectl-layers": ("cli/stemyard_kubectl/places.py", "import stemyard_kubectl.app"),
    "kubectl-parts": ("cli/stemyard_kubectl/forbidden.py", "import stemyard_operator.errors"),
    "mcp-layers": ("cli/stemyard_mcp/files.py", "import stemyard_mcp.server"),
    "mcp-parts": ("cli/stemyard_mcp/forbidden.py", "import stemyard_separator.errors"),
    "client-libraries": ("client/stemyard_client/forbidden.py", "import requests"),
    "operator-purity": ("operator/stemyard_operator/decision/forbidden.py", "import time"),
    "clients": ("operator/stemyard_operator/webhooks/forbidden.py", "import httpx"),
    "kopf": ("operator/stemyard_operator/reconciler/forbidden.py", "import kopf"),
}
"""By contract, a module that breaks it."""


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """Return a copy of the packages: other tests import the originals meanwhile."""
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "web"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint(root: Path, contract: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / "lint-imports"
    path = os.pathsep.join(str(root / folder) for folder in FOLDERS)
    return subprocess.run(
        [program, "--no-cache", "--contract", contract],
        cwd=root,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )


def test_every_contract_has_a_module_that_breaks_it() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert {contract["id"] for contract in contracts} == set(FORBIDDEN)


@pytest.mark.parametrize("contract", FORBIDDEN)
def test_a_forbidden_import_breaks_the_contract(contract: str, copied: Path) -> None:
    module, line = FORBIDDEN[contract]
    assert lint(copied, contract).returncode == 0
    (copied / module).write_text(f'"""A module that must not be."""\n\n{line}\n')

    done = lint(copied, contract)

    assert done.returncode == 1, done.stdout + done.stderr
    assert "BROKEN" in done.stdout
    assert module.rpartition("/")[2].removesuffix(".py") in done.stdout
