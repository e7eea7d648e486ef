"""Workflows cannot run here: they are linted, and what their steps call runs here."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from charts.helm import CHART
from demo.images import DOCKERFILE, IMAGES
from localcluster.binaries import go_program
from localcluster.folders import here

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yaml"))
ACTIONLINT = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"
PINNED = re.compile(r"uses: ([\w./-]+)@[0-9a-f]{40}  # v\d+\.\d+\.\d+")


def workflow(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / f".github/workflows/{name}.yaml").read_text()))


def scripts(name: str) -> list[str]:
    return [step["run"] for job in workflow(name)["jobs"].values() for step in job["steps"] if "run" in step]


def test_workflows_and_their_scripts_are_clean() -> None:
    program = go_program(ACTIONLINT, here())
    shellcheck = Path(sys.executable).with_name("shellcheck")
    assert shellcheck.exists()
    command = [str(program), "-shellcheck", str(shellcheck), "-pyflakes", "", *map(str, WORKFLOWS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["ci", "release"])
def test_steps_call_targets_that_there_are(name: str) -> None:
    targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text()))
    called = [target for script in scripts(name) for target in re.findall(r"\bmake (?:--silent )?([a-z-]+)", script)]
    assert called
    assert set(called) <= targets


def test_ci_runs_every_layer() -> None:
    called = {script for script in scripts("ci") if script.startswith("make ")}
    assert {
        "make check",
        "make test-unit",
        "make test-api-server",
        "make test-cluster",
        "make test-kueue",
        "make package",
    } <= called


def test_a_release_builds_every_image_of_the_chart() -> None:
    built = {one["chart_name"]: one for one in workflow("release")["jobs"]["image"]["strategy"]["matrix"]["include"]}
    values = yaml.safe_load((CHART / "values.yaml").read_text())["images"]
    own = {name: image for name, image in values.items() if "stemyard" in str(image)}
    assert built.keys() == own.keys()
    for name, one in built.items():
        assert own[name]["repository"].endswith(f"/{one['name']}")
    for image in IMAGES:
        one = built[image.chart_name]
        assert one["target"] == image.target
        # what is tested is what is released: the weights as well
        assert one.get("models", "") == dict(image.arguments).get("BAKE_MODELS", "")
    [build] = [one for one in workflow("release")["jobs"]["image"]["steps"] if one.get("id") == "build"]
    assert (build["with"]["file"], build["with"]["target"]) == (DOCKERFILE, "${{ matrix.target }}")
    assert "BAKE_MODELS=${{ matrix.models }}" in build["with"]["build-args"].splitlines()


def test_the_default_model_is_in_the_released_image() -> None:
    built = {one["chart_name"]: one for one in workflow("release")["jobs"]["image"]["strategy"]["matrix"]["include"]}
    models = yaml.safe_load((CHART / "values.yaml").read_text())["models"]
    assert [models["claim"], models["image"], models["cache"]["enabled"]] == ["", "", False]
    assert built["separatorCpu"]["models"] == models["default"]


def test_everything_but_cuda_is_built_for_two_architectures() -> None:
    matrix = workflow("release")["jobs"]["image"]["strategy"]["matrix"]["include"]
    platforms = {one["chart_name"]: one["platforms"].split(",") for one in matrix}
    assert platforms.pop("separatorCuda") == ["linux/amd64"]
    assert all(one == ["linux/amd64", "linux/arm64"] for one in platforms.values())


def test_images_come_with_sbom_provenance_and_signature() -> None:
    steps = workflow("release")["jobs"]["image"]["steps"]
    [build] = [step for step in steps if step.get("uses", "").startswith("docker/build-push-action")]
    assert (build["with"]["sbom"], build["with"]["provenance"]) == (True, "mode=max")
    assert any("cosign sign --yes" in script for script in scripts("release"))


def stages() -> dict[str, tuple[str, list[str]]]:
    """The Dockerfile's stages by name: what each is built from, and its lines."""
    found: dict[str, tuple[str, list[str]]] = {}
    for line in (ROOT / DOCKERFILE).read_text().splitlines():
        if line.startswith("FROM "):
            _, base, _, name = line.split()
            lines: list[str] = []
            found[name] = (base, lines)
        elif found:
            lines.append(line)
    return found


def lines_of(target: str) -> list[str]:
    """The lines of a stage and of those that it is built from."""
    if target == "${BASE_IMAGE}":
        return []
    base, lines = stages()[target]
    return [*lines_of(base), *lines]


@pytest.mark.parametrize("target", ["api", "operator", "cpu", "cuda"])
def test_images_run_as_nobody_from_a_base_that_can_be_pinned(target: str) -> None:
    lines = lines_of(target)
    assert [line for line in lines if line.startswith("USER ")] == ["USER 65532:65532"]
    assert any("org.opencontainers.image.title=" in line for line in lines)
    for label in ("source", "licenses", "version", "revision"):
        assert any(f"org.opencontainers.image.{label}=" in line for line in lines)


@pytest.mark.parametrize(
    ("target", "folder"),
    [("api", "api"), ("operator", "operator"), ("cpu", "separator-image"), ("cuda", "separator-image")],
)
def test_a_part_s_stage_copies_only_the_contract_and_its_own_folder(target: str, folder: str) -> None:
    copied = [line.split()[1] for line in lines_of(f"build-{target}") if line.startswith("COPY ")]
    assert copied == ["pyproject.toml", "contract", folder, "images/slim.py"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_by_commit_with_their_version_beside(path: Path) -> None:
    used = re.findall(r"uses: .*", path.read_text())
    assert used
    assert [line for line in used if not PINNED.fullmatch(line)] == []
