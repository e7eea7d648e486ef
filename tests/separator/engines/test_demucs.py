"""The demucs engine against stock demucs, on random weights. Needs torch."""

import copy
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import Manifest
from stemyard_contract.output import Output
from stemyard_contract.separationjob import Source, Stem
from stemyard_separator.engines.protocol import MixStatistics, SeparationEngine
from stemyard_separator.engines.registry import EngineOptions, load_engine
from stemyard_separator.errors import ModelError
from stemyard_separator.models.folder import ModelRecord, add_record, file_sha256
from tests.support import separator_process as separator
from tests.support.audio import CLIP, Audio, read, write_wav
from tests.support.desk_double import DeskDouble

torch = pytest.importorskip("torch", reason="torch is not installed: the demucs engine is NOT tested")

from demucs.apply import BagOfModels, apply_model  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from stemyard_separator.engines import cpu_rewrite as rewriting  # noqa: E402
from stemyard_separator.engines.batching import Batcher  # noqa: E402
from stemyard_separator.engines.demucs_network import select_sources  # noqa: E402
from stemyard_separator.engines.gpu_rewrite import rewrite_for_gpu  # noqa: E402
from tests.support.demucs_model import FOUR, RELEASED, SMALL, save_network  # noqa: E402

pytestmark = pytest.mark.filterwarnings("default")
SIX = [*FOUR, "guitar", "piano"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def networks(folder: Path) -> dict[str, Any]:
    networks = {"htdemucs": save_network(folder, "htdemucs", FOUR, 1, **SMALL)}
    networks["htdemucs_6s"] = save_network(folder, "htdemucs_6s", SIX, 2, **SMALL)
    for seed, stem in enumerate(FOUR):
        networks[f"htdemucs_ft.{stem}"] = save_network(folder, f"htdemucs_ft.{stem}", FOUR, 10 + seed, **SMALL)
    return networks


def song(seconds: float) -> Audio:
    clip = read(CLIP)
    repeats = int(np.ceil(seconds * 44_100 / clip.shape[1]))
    return np.tile(clip, repeats)[:, : int(seconds * 44_100)]


def track_of(audio: Audio) -> MixStatistics:
    mono = audio.mean(axis=0)
    return MixStatistics(audio.shape[1], float(mono.mean()), float(mono.std(ddof=1)))


def separated(engine: SeparationEngine, audio: Audio, block: int = 44_100) -> dict[Stem, Audio]:
    def blocks() -> Iterator[Any]:
        for start in range(0, audio.shape[1], block):
            yield audio[:, start : start + block].astype(np.float32)

    parts = list(engine.separate(blocks(), track_of(audio)))
    return {stem: np.concatenate([part[stem] for part in parts], axis=1).astype(np.float64) for stem in parts[0]}


@pytest.mark.parametrize(("variables", "policy"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_idle_threads_sleep_unless_configured_otherwise(
    folder: Path, networks: dict[str, Any], variables: dict[str, str], policy: str
) -> None:
    load = (
        "import sys; from pathlib import Path; "
        "from stemyard_separator.engines.registry import EngineOptions, load_engine; "
        "load_engine(EngineOptions('htdemucs', Path(sys.argv[1]), 2, device='cpu'))"
    )
    inherited = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment = {**inherited, "OMP_DISPLAY_ENV": "true", **variables}
    ran = subprocess.run([sys.executable, "-c", load, folder], env=environment, capture_output=True, text=True)
    assert f"OMP_WAIT_POLICY = '{policy}'" in ran.stderr
    assert ran.returncode == 0


def stock(network: Any, audio: Audio, overlap: float = 0.25, device: str = "cpu") -> Audio:
    """Return the output of `demucs.api.Separator`: normalise the whole track, `apply_model`, and undo it."""
    mix = torch.from_numpy(audio.astype(np.float32))
    reference = mix.mean(0)
    mean, scale = reference.mean(), reference.std() + 1e-8
    with torch.no_grad():
        out = apply_model(network, ((mix - mean) / scale)[None], shifts=0, overlap=overlap, device=device)[0]
    return np.asarray((out.cpu() * scale + mean).numpy(), np.float64)


def snr(reference: Audio, estimate: Audio) -> float:
    return float(10 * np.log10(np.sum(reference**2) / (np.sum((reference - estimate) ** 2) + 1e-30)))


def loaded(
    folder: Path, model: str, *stems: Stem, preset: str = "balanced", residual: bool = False
) -> SeparationEngine:
    return load_engine(EngineOptions(model, folder, 2, frozenset(stems), "cpu", preset, residual=residual))


@pytest.mark.parametrize(("model", "names"), [("htdemucs", FOUR), ("htdemucs_6s", SIX)])
def test_all_stems_sum_to_the_mix(folder: Path, networks: dict[str, Any], model: str, names: list[str]) -> None:
    audio, stems = song(9), [Stem(name) for name in names]

    summing = separated(loaded(folder, model, *stems, residual=True), audio)
    pure = separated(loaded(folder, model, *stems), audio)

    assert np.abs(sum(summing[stem] for stem in stems) - audio).max() < 1e-5
    assert np.abs(sum(pure[stem] for stem in stems) - audio).max() > 1e-3
    assert all(np.array_equal(summing[stem], pure[stem]) for stem in stems if stem is not Stem.OTHER)


def test_other_alone_is_what_the_network_gives(folder: Path, networks: dict[str, Any]) -> None:
    audio = song(3)

    with_option = separated(loaded(folder, "htdemucs", Stem.OTHER, residual=True), audio)

    assert np.array_equal(with_option[Stem.OTHER], separated(loaded(folder, "htdemucs", Stem.OTHER), audio)[Stem.OTHER])


@pytest.mark.parametrize("seconds", [3.0, 13.7])
def test_it_agrees_with_apply_model(folder: Path, networks: dict[str, Any], seconds: float) -> None:
    audio = song(seconds)
    stems = tuple(Stem(name) for name in FOUR)

    ours = separated(loaded(folder, "htdemucs", *stems, Stem.INSTRUMENTAL), audio, 30_011)

    theirs = stock(networks["htdemucs"], audio)
    reached = {stem: snr(theirs[FOUR.index(stem)], ours[stem]) for stem in stems}
    print("SNR against apply_model in dB:", reached)
    assert min(reached.values()) >= 60
    assert np.abs(ours[Stem.VOCALS] + ours[Stem.INSTRUMENTAL] - audio).max() < 1e-5


@pytest.mark.parametrize(("preset", "overlap"), [("fast", 0.1), ("best", 0.5)])
def test_presets_choose_the_overlap(folder: Path, networks: dict[str, Any], preset: str, overlap: float) -> None:
    audio = song(16)

    ours = separated(loaded(folder, "htdemucs", Stem.VOCALS, preset=preset), audio)

    assert snr(stock(networks["htdemucs"], audio, overlap)[3], ours[Stem.VOCALS]) >= 60


def test_six_stems(folder: Path, networks: dict[str, Any]) -> None:
    audio = song(9)

    ours = separated(loaded(folder, "htdemucs_6s"), audio)

    theirs = stock(networks["htdemucs_6s"], audio)
    assert min(snr(theirs[SIX.index(stem)], ours[stem]) for stem in (Stem.PIANO, Stem.GUITAR, Stem.VOCALS)) >= 60


def test_the_fine_tuned_network_alone_gives_the_bags_vocals(folder: Path, networks: dict[str, Any]) -> None:
    audio = song(9)
    members = [networks[f"htdemucs_ft.{stem}"] for stem in FOUR]
    theirs = stock(BagOfModels(members, np.eye(4).tolist()), audio)

    alone = loaded(folder, "htdemucs_ft", Stem.VOCALS, Stem.INSTRUMENTAL)
    ours, every = separated(alone, audio), separated(loaded(folder, "htdemucs_ft"), audio)

    assert set(ours) == {Stem.VOCALS, Stem.INSTRUMENTAL}
    assert snr(theirs[3], ours[Stem.VOCALS]) >= 60
    assert min(snr(theirs[FOUR.index(name)], every[Stem(name)]) for name in FOUR) >= 60
    assert alone.digest != loaded(folder, "htdemucs_ft").digest


@pytest.mark.parametrize("sources", [[3], [0, 2], [2, 1, 0, 3]])
def test_selecting_sources_does_not_change_them(tmp_path: Path, sources: list[int]) -> None:
    whole = save_network(tmp_path, "htdemucs", FOUR, 1, **SMALL)
    audio = torch.from_numpy(song(7.8)[None].astype(np.float32))
    with torch.inference_mode():
        everything = whole(audio)[:, sources]

        narrowed = select_sources(copy.deepcopy(whole), sources)(audio)

    assert narrowed.shape == everything.shape
    assert snr(everything.numpy(), narrowed.numpy()) >= 100


KINDS: dict[str, dict[str, Any]] = {
    "published": {},
    "norm last, plain layers": {"t_norm_first": False, "t_layer_scale": False},
    "relu, no last norm": {"t_gelu": False, "t_norm_out": False},
    "several groups": {"t_norm_out": 4, "norm_starts": 1},
    "no transformer": {"t_layers": 0},
}


@pytest.mark.parametrize("packed", [True, False], ids=["onednn", "plain"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_network_rewritten_for_cpus_is_equivalent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, packed: bool
) -> None:
    whole = save_network(tmp_path, "htdemucs", FOUR, 1, **SMALL | KINDS[kind])
    audio = torch.from_numpy(np.stack([song(7.8), song(15.6)[:, -343_980:]]).astype(np.float32))
    if not packed:
        monkeypatch.setattr(rewriting, "_onednn_linear", lambda _: None)

    rewritten = rewriting.rewrite_for_cpu(copy.deepcopy(whole))

    with torch.inference_mode():
        assert snr(whole(audio).numpy(), rewritten(audio).numpy()) >= 90
    replaced = [type(part).__name__ for part in rewritten.modules() if type(part).__module__ == rewriting.__name__]
    assert replaced.count("_Residual") == 16
    published = {"_Linear": 26, "_Attention": 6, "_WholeNorm": 6}
    if kind == "published":
        assert {name: replaced.count(name) for name in published} == published
    assert "_Attention" not in replaced or whole.crosstransformer.layers[0].norm_first


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_rewritten_for_gpus_is_equivalent(tmp_path: Path, kind: str) -> None:
    whole = save_network(tmp_path, "htdemucs", FOUR, 1, **SMALL | KINDS[kind])
    audio = torch.from_numpy(np.stack([song(7.8), song(15.6)[:, -343_980:]]).astype(np.float32))

    rewritten = rewrite_for_gpu(copy.deepcopy(whole))

    with torch.inference_mode():
        assert snr(whole(audio).numpy(), rewritten(audio).numpy()) >= 90
    replaced = [
        type(part).__name__ for part in rewritten.modules() if type(part).__module__ == rewrite_for_gpu.__module__
    ]
    assert replaced.count("_Residual") == 16
    assert kind != "published" or replaced.count("_WholeNorm") == 6


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")


@needs_gpu
@pytest.mark.parametrize(("preset", "overlap", "least"), [("best", 0.5, 60), ("balanced", 0.25, 40)])
def test_a_gpu_agrees_with_apply_model(tmp_path: Path, preset: str, overlap: float, least: float) -> None:
    network = save_network(tmp_path, "htdemucs", FOUR, 1, **RELEASED)
    audio, stems = song(40), frozenset(map(Stem, FOUR))

    engine = load_engine(EngineOptions("htdemucs", tmp_path, 2, stems, "cuda", preset))

    theirs = stock(network, audio, overlap, "cuda")
    ours = separated(engine, audio)
    reached = {stem: snr(theirs[FOUR.index(stem)], ours[stem]) for stem in stems}
    print("SNR against apply_model in dB:", reached)
    assert min(reached.values()) >= least


@needs_gpu
def test_a_batch_is_halved_on_a_gpu_with_little_memory(tmp_path: Path) -> None:
    save_network(tmp_path, "htdemucs", FOUR, 1, **RELEASED)
    engine: Any = load_engine(EngineOptions("htdemucs", tmp_path, 2, frozenset({Stem.VOCALS}), "cuda"))
    audio = song(200)
    expected = separated(engine, audio)[Stem.VOCALS]
    sizes: list[int] = []
    forward = engine._forward

    def recording(audio: Any) -> Any:
        sizes.append(len(audio))
        return forward(audio)

    engine._forward = recording
    torch.cuda.empty_cache()
    # one segment fits, sixteen do not; the batch size was chosen with enough memory
    torch.cuda.set_per_process_memory_fraction(3 * 2**30 / torch.cuda.get_device_properties(0).total_memory)
    try:
        limited = separated(engine, audio)[Stem.VOCALS]
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)

    assert sizes[0] > sizes[-2]
    assert snr(expected, limited) >= 40


@pytest.mark.skipif(
    "STEMYARD_TEST_COMPILE" not in os.environ, reason="takes many minutes, runs if STEMYARD_TEST_COMPILE is set"
)
def test_a_compiled_network_is_equivalent(folder: Path, networks: dict[str, Any]) -> None:
    audio, stems = song(3), frozenset({Stem.VOCALS})

    compiled = load_engine(EngineOptions("htdemucs", folder, 2, stems, "cpu", compiled=True))

    plain = separated(loaded(folder, "htdemucs", Stem.VOCALS), audio)
    assert snr(plain[Stem.VOCALS], separated(compiled, audio)[Stem.VOCALS]) >= 60
    assert compiled.parameters["compiled"] == "true"


SHAPES = {
    "htdemucs_ft": (Stem.VOCALS, Stem.INSTRUMENTAL),
    "htdemucs": tuple(map(Stem, FOUR)),
    "htdemucs_6s": tuple(map(Stem, SIX)),
}


@pytest.mark.parametrize("model", SHAPES)
def test_two_four_and_six_stems_pass_both_stages(
    folder: Path, networks: dict[str, Any], desk: DeskDouble, upload: Source, tmp_path: Path, model: str
) -> None:
    stems, audio = SHAPES[model], song(9)
    desk.files["input"] = write_wav(tmp_path / "song.wav", audio * 0.5).read_bytes()
    environment = {"STEMYARD_MODEL_DIR": str(folder), "STEMYARD_DEVICE": "cpu"}
    assert separator.run(separator.assignment(desk, upload), tmp_path / "fetch").exit_code == 0
    assignment = separator.assignment(desk, model=model, stems=stems, output=Output(format="flac"))

    ended = separator.run(assignment, tmp_path / "separate", **environment)

    assert ended.exit_code == 0, ended.output
    manifest = Manifest.model_validate_json(desk.files["manifest.json"])
    assert set(manifest.stems) == set(stems)
    assert (manifest.engine, manifest.model, manifest.device) == ("demucs", model, "cpu")
    assert {"torch", "demucs"} <= set(manifest.versions)
    for stem in stems:
        path = tmp_path / f"{stem}.flac"
        path.write_bytes(desk.files[path.name])
        assert read(path).shape == audio.shape


def test_an_unusable_gpu_is_reported(
    folder: Path, networks: dict[str, Any], desk: DeskDouble, upload: Source, tmp_path: Path
) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    desk.files["input"] = CLIP.read_bytes()
    assert separator.run(separator.assignment(desk, upload), tmp_path / "fetch").exit_code == 0
    environment = {"STEMYARD_MODEL_DIR": str(folder), "STEMYARD_DEVICE": "cuda"}

    ended = separator.run(separator.assignment(desk, model="htdemucs"), tmp_path / "separate", **environment)

    assert ended.outcome is not None
    assert ended.outcome.code is FailureCode.DEVICE_UNAVAILABLE


class SmallDevice:
    """A network on a device whose memory fits only `room` segments."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.sizes: list[int] = []

    def __call__(self, audio: Any) -> Callable[[], Any]:
        self.sizes.append(len(audio))
        if len(audio) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return lambda: audio[:, None] * 2


def test_a_batch_is_halved_until_it_fits() -> None:
    batcher, network = Batcher(torch.device("cpu")), SmallDevice(3)
    audio = np.arange(20, dtype=np.float32).reshape(10, 2, 1)

    done = batcher.run(network, audio)()

    assert np.array_equal(done, audio[:, None] * 2), "in order, nothing lost"
    assert batcher.size <= 3
    assert network.sizes[0] == 10


def test_a_batch_that_never_fits_is_out_of_memory() -> None:
    with pytest.raises(ModelError) as caught:
        Batcher(torch.device("cpu")).run(SmallDevice(0), np.zeros((4, 2, 1), np.float32))
    assert caught.value.code is FailureCode.OUT_OF_MEMORY


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_missing_gpu_is_never_replaced_by_the_cpu(folder: Path, networks: dict[str, Any]) -> None:
    with pytest.raises(ModelError) as caught:
        load_engine(EngineOptions("htdemucs", folder, 2, frozenset({Stem.VOCALS}), "cuda"))
    assert caught.value.code is FailureCode.DEVICE_UNAVAILABLE
    assert load_engine(EngineOptions("htdemucs", folder, 2, frozenset({Stem.VOCALS}), "auto")).device == "cpu"


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"klass": "os.system", "args": '["true"]', "kwargs": "{}"},
        {"klass": "demucs.htdemucs.HTDemucs", "args": "[]", "kwargs": '{"sources": ["vocals"]}'},
        {"klass": "demucs.htdemucs.HTDemucs", "args": "[]", "kwargs": '{"nonsense": 1}'},
    ],
)
def test_weights_of_another_class_are_corrupt(tmp_path: Path, metadata: dict[str, str]) -> None:
    path = tmp_path / "htdemucs.safetensors"
    save_file({"x": torch.zeros(1)}, str(path), metadata)
    digest = file_sha256(path)
    record = ModelRecord(file=path.name, sha256=digest, bytes=1, licence="-", source="-", source_sha256=digest)
    add_record(tmp_path, "htdemucs", record)

    with pytest.raises(ModelError) as caught:
        load_engine(EngineOptions("htdemucs", tmp_path, 2))
    assert caught.value.code is FailureCode.MODEL_CORRUPT
    assert metadata.get("klass", "None") in caught.value.cause


def test_buffered_audio_does_not_grow_with_the_song(folder: Path, networks: dict[str, Any]) -> None:
    engine = loaded(folder, "htdemucs", Stem.VOCALS)
    read_ahead: list[float] = []
    audio = song(40)
    consumed = done = 0

    def blocks() -> Iterator[Any]:
        nonlocal consumed
        for start in range(0, audio.shape[1], 44_100):
            consumed += 44_100
            read_ahead.append((consumed - done) / 44_100)
            yield audio[:, start : start + 44_100].astype(np.float32)

    for part in engine.separate(blocks(), track_of(audio)):
        done += part[Stem.VOCALS].shape[1]

    assert done == audio.shape[1]
    assert max(read_ahead) < 20, "seconds of audio read but not separated"
