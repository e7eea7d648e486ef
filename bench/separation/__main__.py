"""`python -m bench.separation`: prints `name value unit target ok|short`, and writes the same to `bench/results/`."""

import argparse
import compileall
import datetime
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from bench.separation.end_to_end import figures as end_to_end
from bench.separation.figures import Figure, machine
from bench.separation.stages import Model, figures
from stemyard_separator.engines.registry import set_passive_wait_policy
from tests.support.spleeter_model import model_folder

_ROOT = Path(__file__).parents[2]
_RESULTS = _ROOT / "bench" / "results"
_CODE = ("contract/stemyard_contract", "separator-image/stemyard_separator")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.separation", description=__doc__)
    parser.add_argument("--minutes", default="3,10,60", help="song lengths for spleeter")
    parser.add_argument(
        "--demucs-minutes",
        default="3,10",
        help="song lengths for demucs, which without a GPU takes half the song's duration",
    )
    parser.add_argument("--repeats", type=int, default=3, help="runs per song (one with demucs); the best is reported")
    parser.add_argument("--only", choices=("spleeter", "demucs"), help="one engine")
    parser.add_argument(
        "--demucs-seconds", type=float, default=30, help="length of the clip for the comparison with stock demucs"
    )
    parser.add_argument(
        "--seconds", default="60,240", help="song lengths for the comparison of both Jobs with bare separation"
    )
    parser.add_argument("--no-save", action="store_true", help="print only")
    given = parser.parse_args()
    # as in the image: start-up is measured without Python's compilation
    for folder in _CODE:
        compileall.compile_dir(_ROOT / folder, quiet=1)
    set_passive_wait_policy()  # as in the stages' processes
    gpu = _gpu() if given.only != "spleeter" else ""
    lines = [f"# {datetime.date.today().isoformat()}, {machine()}{gpu and f', {gpu}'}"]
    print(lines[0], flush=True)
    for figure in _all(given):
        lines.append(figure.line())
        print(lines[-1], flush=True)
    if not given.no_save:
        _RESULTS.mkdir(exist_ok=True)
        name = "-".join(filter(None, ("separation", given.only, gpu and "gpu")))
        (_RESULTS / f"{name}.txt").write_text("\n".join(lines) + "\n")


def _gpu() -> str:
    """Return the name of the GPU that demucs uses; empty if there is none."""
    if importlib.util.find_spec("torch") is None:
        return ""
    from bench.separation.demucs import gpu  # needs torch

    return gpu()


def _all(given: argparse.Namespace) -> Iterator[Figure]:
    lengths = [int(each) for each in given.seconds.split(",")]
    if given.only != "demucs":
        spleeter = Model("spleeter-2stems", model_folder(), "onnxruntime")
        yield from figures("spleeter", spleeter, _minutes(given.minutes), given.repeats)
        yield from end_to_end(spleeter, lengths, given.repeats)
    if given.only == "spleeter":
        return
    if importlib.util.find_spec("torch") is None:
        print("# demucs: skipped, torch is not installed here")
        return
    from bench.separation.demucs import figures as demucs_figures  # needs torch
    from bench.separation.demucs import random_model

    yield from demucs_figures(given.demucs_seconds, given.repeats)
    with random_model() as folder:
        demucs = Model("htdemucs", folder, "torch", "cuda" if _gpu() else "cpu", promised=True)
        yield from figures("demucs", demucs, _minutes(given.demucs_minutes), 1)
        if demucs.device == "cpu":  # CPU seconds say nothing about work on a GPU
            yield from end_to_end(demucs, lengths, given.repeats)


def _minutes(text: str) -> list[float]:
    return [float(each) for each in text.split(",")]


if __name__ == "__main__":
    main()
