"""Workflows cannot run here: they are linted, and what their steps call runs here."""

import re
import subprocess
import sys
import tomllib
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
    return [step["run"] for job in workflow(name)["jobs"].values() for step in job.get("steps", ()) if "run" in step]


def test_workflows_and_their_scripts_are_clean() -> None:
    program = go_program(ACTIONLINT, here())
    shellcheck = Path(sys.executable).with_name("shellcheck")
    assert shellcheck.exists()
    command = [str(program), "-shellcheck", str(shellcheck), "-pyflakes", "", *map(str, WORKFLOWS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", [path.stem for path in WORKFLOWS])
def test_steps_call_targets_that_there_are(name: str) -> None:
    targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text()))
    called = [target for script in scripts(name) for target in re.findall(r"\bmake (?:--silent )?([a-z-]+)", script)]
    assert called
    assert set(called) <= targets


def test_ci_runs_every_layer() -> None:
    called = {script.removeprefix("make ") for script in scripts("ci") if script.startswith("make ")}
    layers = re.search(r"(?m)^test: ([^#]+)##", (ROOT / "Makefile").read_text())
    assert layers
    assert {*layers[1].split(), "test-kueue", "package"} <= called


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
    assert "cosign sign --yes --recursive" in workflow("release")["jobs"]["sign"]["steps"][-1]["run"]


def needed(jobs: dict[str, Any], name: str) -> set[str]:
    """All jobs that must have succeeded before one."""
    first = jobs[name].get("needs", [])
    direct = {first} if isinstance(first, str) else set(first)
    return direct.union(*(needed(jobs, one) for one in direct))


def test_nothing_is_pushed_before_every_test_of_the_commit_has_passed() -> None:
    jobs = workflow("release")["jobs"]
    assert jobs["tests"]["uses"] == "./.github/workflows/ci.yaml"
    assert "workflow_call" in (ROOT / ".github/workflows/ci.yaml").read_text()
    writers = [name for name, job in jobs.items() if "write" in job["permissions"].values()]
    assert sorted(writers) == ["image", "publish", "sign"]
    assert [name for name in writers if "tests" not in needed(jobs, name)] == []


def test_what_may_sign_runs_nothing_of_the_repository() -> None:
    signing = [job for job in workflow("release")["jobs"].values() if job["permissions"].get("id-token") == "write"]
    assert len(signing) == 2
    for job in signing:
        used = [step.get("uses", "") for step in job["steps"]]
        assert not any(one.startswith("actions/checkout") for one in used)
        assert not any("make " in step.get("run", "") for step in job["steps"])


def test_what_may_publish_pages_runs_nothing_of_the_repository() -> None:
    jobs = workflow("docs")["jobs"]
    [writer] = [name for name, job in jobs.items() if "write" in job.get("permissions", {}).values()]
    assert [step["uses"].partition("@")[0] for step in jobs[writer]["steps"]] == ["actions/deploy-pages"]
    assert (jobs[writer]["needs"], "push" in jobs[writer]["if"]) == ("build", True)
    assert workflow("docs")["permissions"] == {"contents": "read"}


def test_a_release_has_the_chart_the_crd_the_images_and_their_checksums() -> None:
    jobs = workflow("release")["jobs"]
    [packing] = [step["run"] for step in jobs["chart"]["steps"] if "make package" in step.get("run", "")]
    for part in ("images.txt", "separationjobs.yaml", "keywebhooks.yaml", "sha256sum", "notes.md"):
        assert part in packing
    assert any("sha256sum --check" in step.get("run", "") for step in jobs["publish"]["steps"])


def test_yt_dlp_is_published_only_if_it_is_new_and_passes_its_tests() -> None:
    job = workflow("ytdlp")["jobs"]["overlay"]
    assert "fork" in job["if"]
    steps = job["steps"]
    names = [step.get("run") or step["uses"].partition("@")[0] for step in steps]
    [tested], [pushed] = ([n for n, name in enumerate(names) if end in name] for end in ("test-ytdlp", "build-push"))
    assert tested < pushed
    guarded = [step for step in steps[tested:] if step["if"] == "steps.published.outputs.already != 'true'"]
    assert guarded == steps[tested:]
    [python] = [step["with"]["python-version"] for step in steps if "setup-python" in step.get("uses", "")]
    assert f"python:{python}-slim" in (ROOT / DOCKERFILE).read_text(), "the bytecode is of the image's Python"


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
    assert copied == ["images/uv.txt", "pyproject.toml", "contract", folder, "images/slim.py"]


def test_what_installs_the_locked_packages_is_pinned_by_hash() -> None:
    requirement, *hashes = (ROOT / "images/uv.txt").read_text().partition("\nuv")[2].splitlines()
    assert re.fullmatch(r"==[0-9.]+ \\", requirement)
    assert len(hashes) > 5
    assert all("--hash=sha256:" in line for line in hashes)
    for path in (DOCKERFILE, "Makefile"):
        installed = [line for line in (ROOT / path).read_text().splitlines() if "pip install" in line and "/uv" in line]
        assert installed
        assert [line for line in installed if "--require-hashes" not in line and "uv pip" not in line] == []


MANIFESTS = {"uv": "uv.lock", "docker": "Dockerfile", "pip": "*.txt", "npm": "package.json", "gomod": "go.mod"}


def test_dependabot_looks_where_the_manifests_are() -> None:
    updates = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())["updates"]
    for update in updates:
        for folder in update.get("directories", [update.get("directory")]):
            if update["package-ecosystem"] != "github-actions":
                assert list((ROOT / folder.strip("/")).glob(MANIFESTS[update["package-ecosystem"]])), update


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_by_commit_with_their_version_beside(path: Path) -> None:
    used = [one for one in re.findall(r"uses: .*", path.read_text()) if "./.github/" not in one]
    assert used
    assert [line for line in used if not PINNED.fullmatch(line)] == []


def test_the_lock_is_for_linux_and_macos_with_wheels_of_every_package_that_the_demo_imports() -> None:
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    markers = "\n".join(lock["supported-markers"])
    assert "linux" in markers
    assert "darwin" in markers
    wheels = {one["name"]: " ".join(wheel["url"] for wheel in one.get("wheels", ())) for one in lock["package"]}
    for name in ("helm-python-sdk", "onnxruntime", "av", "pydantic-core", "uvloop"):
        assert re.search(r"macosx_\d+_\d+_(arm64|universal2)|none-any", wheels[name]), name
