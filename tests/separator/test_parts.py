"""The separator's pure parts."""

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from stemyard_contract.failures import FailureCode
from stemyard_contract.quality import DEFAULT_QUALITY, Quality
from stemyard_separator.audio.channels import stereo_matrix
from stemyard_separator.audio.decode import exponent_for
from stemyard_separator.audio.measurements import PcmMeter
from stemyard_separator.audio.render import gain_for
from stemyard_separator.engines.presets import DEFAULT_PRESET, PRESETS
from stemyard_separator.engines.registry import resolve_device
from stemyard_separator.engines.stft import Analysis, Synthesis
from stemyard_separator.errors import SourceError, redact
from stemyard_separator.models.checkpoint import UnsafeCheckpointError, read_checkpoint
from stemyard_separator.process import available_cores
from stemyard_separator.settings import SeparatorSettings

GENERATOR = np.random.default_rng(5)


@pytest.mark.parametrize("samples", [1, 1023, 4096, 44_100, 524_288, 700_001])
@pytest.mark.parametrize("block", [1000, 65_536])
def test_the_transform_is_undone_exactly_whatever_the_blocks(samples: int, block: int) -> None:
    mix = GENERATOR.standard_normal((2, samples)).astype(np.float32)
    blocks = (mix[:, start : start + block] for start in range(0, samples, block))
    synthesis = Synthesis(samples)

    parts = [synthesis.add(chunk) for chunk in Analysis(blocks, samples, 512).chunks()]
    result = np.concatenate([*parts, synthesis.finish()], axis=1)

    assert result.shape == mix.shape
    assert np.abs(result - mix).max() < 1e-5


def test_the_spectrum_is_that_of_centred_frames() -> None:
    mix = GENERATOR.standard_normal((2, 20_000)).astype(np.float32)

    (spectra,) = Analysis([mix], 20_000, 512).chunks()

    window = np.hanning(4097)[:-1]
    padded = np.pad(mix[1], (2048, 4096))
    assert np.allclose(spectra[1, 7], np.fft.rfft(padded[7 * 1024 : 7 * 1024 + 4096] * window), atol=1e-3)


def test_statistics_do_not_depend_on_the_blocks() -> None:
    pcm = GENERATOR.integers(-(2**23), 2**23, (2, 100_000)).astype(np.int32)
    meter = PcmMeter()
    for start in (0, 1, 500, 70_000):
        stop = {0: 1, 1: 500, 500: 70_000, 70_000: 100_000}[start]
        meter.update(pcm[:, start:stop])
    meter.update(pcm[:, :0])

    result, mono = meter.result(), pcm.mean(axis=0) / 2**23
    assert result.samples == 100_000
    assert result.peak == np.abs(pcm.astype(np.int64)).max() / 2**23
    assert result.mean == pytest.approx(mono.mean(), rel=1e-12)
    assert result.standard_deviation == pytest.approx(mono.std(ddof=1), rel=1e-12)


@pytest.mark.parametrize(("peak", "exponent"), [(0.0, 1), (1.0, 1), (1.99, 1), (2.0, 2), (3.9, 2), (4.0, 3), (1e6, 20)])
def test_exponents_leave_room_for_the_peak(peak: float, exponent: int) -> None:
    assert exponent_for(peak) == exponent
    assert round(peak * 2.0**-exponent * 2**23) <= 2**23 - 1


def test_a_senseless_peak_has_no_exponent() -> None:
    with pytest.raises(SourceError):
        exponent_for(1e30)


@pytest.mark.parametrize(("peak", "gain"), [(0.0, 1.0), (0.5, 1.0), (0.89, 1.0), (1.0, 0.89), (1.78, 0.5)])
def test_gain_only_ever_lowers(peak: float, gain: float) -> None:
    assert gain_for(peak) == pytest.approx(gain)


@pytest.mark.parametrize(
    ("channels", "left"),
    [
        (("FC",), [1]),
        (("FL", "FR"), [1, 0]),
        (("DL", "DR"), [1, 0]),
        (("FL", "FR", "FC", "LFE", "BL", "BR"), [1, 0, 0.7071, 0, 0.7071, 0]),
        (("FL", "FR", "FC", "LFE", "SL", "SR"), [1, 0, 0.7071, 0, 0.7071, 0]),
        (("NONE",) * 6, [1, 0, 0.7071, 0, 0.7071, 0]),
        (("NONE",) * 9, [0.5] * 9),
    ],
)
def test_downmix(channels: tuple[str, ...], left: list[float]) -> None:
    assert np.allclose(stereo_matrix(channels)[0], left, atol=1e-4)


ALL_CORES = available_cores(Path("/nonexistent"))


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, ALL_CORES),
        ({"cpu.max": "max 100000"}, ALL_CORES),
        ({"cpu.max": "100000 100000"}, 1),
        ({"cpu.max": "20000 100000"}, 1),
        ({"cpu.max": "6400000 100000"}, ALL_CORES),
        ({"cpu/cfs_quota_us": "100000"}, ALL_CORES),
        ({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, ALL_CORES),
    ],
)
def test_cores_granted_by_a_cgroup(tmp_path: Path, files: dict[str, str], cores: int) -> None:
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text + "\n")

    assert available_cores(tmp_path) == cores


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("GET https://s3.example:9000/b/k?X-Amz-Signature=a failed", "GET https://s3.example:9000/[...] failed"),
        ("see http://user:word@host/path.", "see http://host/[...]"),
        ("'https://host/a?b' and \"http://c/d\"", "'https://host/[...]' and \"http://c/[...]\""),
        ("Authorization: Bearer abc.def", "Authorization: [token]"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_redaction(text: str, redacted: str) -> None:
    assert redact(text) == redacted


def test_errors_say_the_sentence_and_the_detail_without_links() -> None:
    error = SourceError(FailureCode.SOURCE_NETWORK, "While reading https://host/a?key=secret.")

    assert error.message == "The source could not be reached, or the connection broke. While reading https://host/[...]"
    assert error.exit_code == 47


@pytest.mark.parametrize(
    ("setting", "given", "device"),
    [
        ("auto", {}, "auto"),
        ("auto", {"NVIDIA_VISIBLE_DEVICES": "void"}, "auto"),
        ("auto", {"NVIDIA_VISIBLE_DEVICES": "GPU-5f2c"}, "cuda"),
        ("cpu", {"NVIDIA_VISIBLE_DEVICES": "GPU-5f2c"}, "cpu"),
        ("cuda", {}, "cuda"),
    ],
)
def test_a_gpu_that_the_pod_was_given_was_asked_for(setting: str, given: dict[str, str], device: str) -> None:
    assert resolve_device(setting, given) == device


def checkpoint(value: object) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("x/data.pkl", pickle.dumps(value, protocol=2))
    return content.getvalue()


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("run",)


@pytest.mark.parametrize("value", [Hostile(), {"a": Hostile()}, {"a": np.float64(1)}, {"a": "text"}, [1]])
def test_a_checkpoint_may_hold_arrays_only(value: object, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnsafeCheckpointError):
        read_checkpoint(checkpoint(value))
    assert capsys.readouterr().out == ""


def test_settings_read_networks() -> None:
    read = SeparatorSettings.from_environment(
        {"STEMYARD_FETCH_ALLOWED_CIDRS": "127.0.0.1/32, fd00::/8", "HOME": "/tmp"}
    )

    assert [str(network) for network in read.fetch_allowed_cidrs] == ["127.0.0.1/32", "fd00::/8"]
    assert SeparatorSettings.from_environment({}).fetch_allowed_cidrs == ()


def test_settings_are_read_from_text_and_variables_of_other_parts_are_none_of_theirs() -> None:
    read = SeparatorSettings.from_environment(
        {"STEMYARD_THREADS": "3", "STEMYARD_COMPILE": "true", "STEMYARD_WORK_DIR": "/elsewhere", "STEMYARD_CACHE": "x"}
    )

    assert (read.threads, read.compile, str(read.work_dir)) == (3, True, "/elsewhere")


@pytest.mark.parametrize(("name", "text"), [("threads", "0"), ("threads", ""), ("device", "tpu"), ("compile", "maybe")])
def test_a_setting_without_sense_is_refused_by_its_name(name: str, text: str) -> None:
    with pytest.raises(ValidationError) as refused:
        SeparatorSettings.from_environment({f"STEMYARD_{name.upper()}": text})

    assert refused.value.errors()[0]["loc"] == (name,)


def test_every_quality_is_a_preset() -> None:
    assert set(PRESETS) == set(Quality)
    assert Quality(DEFAULT_PRESET) is DEFAULT_QUALITY
