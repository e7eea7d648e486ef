"""Schemathesis sends requests that the OpenAPI document allows and forbids to the live service, with all checks.

FUZZ_SECONDS says for how long. A test asks the same every time; `make fuzz-api` asks something new for ten minutes.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from localcluster.control_plane import ControlPlane
from tests.support import api_world, operator_world
from tests.support.kubelet import kubelet
from tests.support.servers import Api, api_process

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "tests/support/fuzz.toml"
SECONDS = int(os.environ.get("FUZZ_SECONDS", "30"))
SEED = os.environ.get("FUZZ_SEED", "1")
UNLIMITED = {f"RATE_LIMIT_{kind}_PER_MINUTE": "0" for kind in ("SUBMITS", "READS", "ANONYMOUS")}
MODELS = "spleeter-2stems,htdemucs,htdemucs_ft,htdemucs_6s"


@pytest.fixture
def api(control_plane: ControlPlane, tmp_path: Path) -> Iterator[Api]:
    """API and operator of a deployment that allows everything."""
    with operator_world.world(control_plane, tmp_path) as world:
        world.environment |= {"ENABLED_MODELS": MODELS, "OBJECT_SOURCE_PREFIXES": "incoming", "MAX_ACTIVE": "50"}
        world.environment |= {"MAX_ACTIVE_FETCH": "50"}
        api_world.grant(world.plane, world.namespace)
        environment = {**world.environment, **UNLIMITED, "STEMYARD_NAMESPACE": world.namespace}
        environment["KUBECONFIG"] = str(world.plane.kubeconfig_of_account(world.namespace, api_world.ACCOUNT))
        with world.operating(), api_process(tmp_path, environment) as found, kubelet(world, work_seconds=0.0):
            yield found


@pytest.mark.timeout(SECONDS + 300)
def test_the_api_conforms_to_its_openapi_document(api: Api, tmp_path: Path) -> None:
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "tests.support.fuzz_hooks", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run", f"{api.url}/openapi.json"]
    options = {"header": f"X-API-Key: {api.key}", "checks": "all", "max-time": str(SECONDS)}
    # some answers wait for something: a long poll for a minute
    options |= {"request-timeout": "70", "max-response-time": "70", "seed": SEED}
    command += [f"--{name}={value}" for name, value in options.items()]
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=SECONDS + 240, check=False
    )
    print(ended.stdout)
    assert ended.returncode == 0, ended.stdout[-20_000:] + ended.stderr[-2000:]
