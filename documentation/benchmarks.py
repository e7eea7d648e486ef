"""Generates the page of benchmarks and its plots from the files of `bench/results`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from documentation.plots import Bar, bars, short
from documentation.tables import table

ROOT: Final = Path(__file__).resolve().parents[1]
RESULTS: Final = ROOT / "bench/results"
IMAGES: Final = "images/benchmarks"
_HEAD: Final = """# Benchmarks

<!-- Generated from bench/results by `make generate`. Do not edit. -->

Every figure here was measured by `make bench` (or, on a GPU, by `python -m bench.separation`), whose results are in
[bench/results](../bench/results) with the machine and its load. Nothing is rounded in our favour, and what missed its
target says *short*.
Pale bars are what Stemyard is compared with: the same work by stock demucs, by a bare FastAPI application, or by an
idiomatic kopf operator.
What follows for the size of an installation: [sizing](07-install.md#sizing); what it costs: [cost](19-cost.md).
"""


@dataclass(frozen=True)
class Row:
    """One bar of a plot: the figure's name, and whether it is Stemyard's own."""

    label: str
    figure: str
    own: bool = True


@dataclass(frozen=True)
class Plot:
    """Figures of one file that are drawn together, and what there is to see."""

    name: str
    file: str
    title: str
    unit: str
    text: str
    rows: Sequence[Row]


PLOTS: Final = (
    Plot(
        "spleeter-speed",
        "separation-spleeter.txt",
        "Spleeter on two CPU cores",
        "times real time",
        "The default model needs no GPU: a song of three minutes takes about eight seconds in both stages.",
        [
            Row(f"{stage}, {minutes} minutes", f"spleeter.{figure}_{minutes}_min")
            for stage, figure in (("separate", "separate"), ("both stages", "pipeline"))
            for minutes in (3, 10, 60)
        ],
    ),
    Plot(
        "spleeter-memory",
        "separation-spleeter.txt",
        "Memory of Spleeter at its peak",
        "MiB",
        "Audio is streamed, so an hour needs as much memory as a song.",
        [
            Row(f"{stage}, {minutes} minutes", f"spleeter.{stage}_peak_{minutes}_min")
            for stage in ("fetch", "separate")
            for minutes in (3, 10, 60)
        ],
    ),
    Plot(
        "demucs-gpu",
        "separation-demucs-gpu.txt",
        "The htdemucs network on an NVIDIA H200",
        "times real time",
        "The same function as stock demucs (40 dB and better), in fewer passes over memory.",
        [
            Row("four stems", "demucs.cuda_four_stems_speed"),
            Row("four stems, stock demucs", "demucs.cuda_four_stems_stock_speed", own=False),
            Row("vocals and instrumental", "demucs.cuda_two_stems_speed"),
            Row("vocals and instrumental, stock", "demucs.cuda_two_stems_stock_speed", own=False),
            Row("quality: best", "demucs.cuda_four_stems_best_speed"),
            Row("quality: best, stock demucs", "demucs.cuda_four_stems_best_stock_speed", own=False),
        ],
    ),
    Plot(
        "demucs-cpu",
        "separation-demucs.txt",
        "The htdemucs network on a CPU",
        "times real time per core",
        "Without a GPU the large model runs about as fast as the music on each core.",
        [
            Row("four stems", "demucs.cpu_four_stems_speed"),
            Row("four stems, stock demucs", "demucs.cpu_four_stems_stock_speed", own=False),
            Row("vocals and instrumental", "demucs.cpu_two_stems_speed"),
            Row("vocals and instrumental, stock", "demucs.cpu_two_stems_stock_speed", own=False),
        ],
    ),
    Plot(
        "api",
        "api.txt",
        "One request to the API",
        "us of CPU",
        "Reads are answered from Redis before FastAPI is reached.",
        [
            Row("GET /job/{track_id}", "api.get_cpu"),
            Row("bare FastAPI, same answer", "api.bare_get_cpu", own=False),
            Row("POST of a known song", "api.cached_post_cpu"),
        ],
    ),
    Plot(
        "operator",
        "operator.txt",
        "One separation in the operator",
        "ms of CPU",
        "Both make the same two Jobs and publish the same result.",
        [
            Row("Stemyard", "operator.cpu"),
            Row("idiomatic kopf operator", "operator.idiomatic_cpu", own=False),
        ],
    ),
    Plot(
        "latency",
        "latency.txt",
        "A song of eleven seconds, from POST to links",
        "ms, median of seven, on a machine that was busy",
        "Most of a short song's time is the start of two processes; [workers](20-workers.md) start one for many songs.",
        [
            Row("fetch: the container starts", "latency.fetch_process"),
            Row("fetch: Python's imports", "latency.fetch_line"),
            Row("fetch: download, decode, upload", "latency.fetch_mark"),
            Row("separate: the container starts", "latency.separate_process"),
            Row("separate: Python's imports", "latency.separate_line"),
            Row("separate: model, encoders, upload", "latency.separate_mark"),
            Row("the status is Completed", "latency.completed"),
            Row("all that Kubernetes adds", "latency.fetch_pod"),
        ],
    ),
    Plot(
        "cost",
        "cost.txt",
        "1,000 songs of three minutes, one Job each",
        "US dollars",
        "Only the H200 was measured; the others are computed from it and from list prices, see [cost](19-cost.md).",
        [
            Row("L4", "cost.1000_songs_L4"),
            Row("A100 80 GB", "cost.1000_songs_A100_80GB"),
            Row("H100", "cost.1000_songs_H100"),
            Row("H200", "cost.1000_songs_H200"),
        ],
    ),
)


def benchmark_plots() -> Mapping[str, str]:
    """Return the plots, as SVG, by path below `docs/`."""
    return {f"{IMAGES}/{plot.name}.svg": bars(plot.title, plot.unit, _bars(plot)) for plot in PLOTS}


def benchmark_page() -> str:
    """Return the page, in Markdown."""
    parts = [_HEAD]
    for plot in PLOTS:
        spoken = "; ".join(f"{bar.label} {short(bar.value)}" for bar in _bars(plot))
        machine = (RESULTS / plot.file).read_text().partition("\n")[0].removeprefix("# ")
        parts.append(
            f"\n## {plot.title}\n\n{plot.text}\n\n![{plot.title}, {plot.unit}: {spoken}]({IMAGES}/{plot.name}.svg)\n"
            f"\n{machine} ([{plot.file}](../bench/results/{plot.file}))\n"
        )
    parts.append("\n## All figures\n")
    for path in sorted(RESULTS.glob("*.txt")):
        rows = list(_figures(path))
        if rows:
            parts.append(f"\n### {path.stem}\n\n{table(('figure', 'value', 'unit', 'target', 'verdict'), rows)}")
    return "".join(parts)


def _bars(plot: Plot) -> list[Bar]:
    values = {row[0]: float(row[1]) for row in _figures(RESULTS / plot.file)}
    return [Bar(row.label, values[row.figure], row.own) for row in plot.rows]


def _figures(path: Path) -> Iterator[tuple[str, ...]]:
    """Yield name, value, unit, target and verdict of each line that `Figure.line` wrote."""
    for line in path.read_text().splitlines():
        cells = line.split()
        if not line.startswith("#") and len(cells) == 5 and "." in cells[0]:
            yield tuple(cells)
