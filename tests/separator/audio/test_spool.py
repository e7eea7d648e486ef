"""Spools: what is read is what was appended, to 24 bits of its loudest sample, by any number of readers."""

import errno
import resource
import threading
from pathlib import Path

import numpy as np
import pytest

from stemyard_separator.audio.spool import AbandonedError, StemSpool
from stemyard_separator.engines.protocol import Samples

LENGTHS = [1, 300_000, 131_072, 0, 70_001]


def noise(samples: int, level: float) -> Samples:
    return (np.random.default_rng(samples).standard_normal((2, samples)) * level).astype(np.float32)


def read(spool: StemSpool) -> Samples:
    return np.concatenate(list(spool.blocks()), axis=1)


@pytest.mark.parametrize("level", [0.0, 1e-38, 1e-30, 1e-4, 0.3, 40.0, 1e30])
def test_samples_come_back_with_24_bits_at_any_level(tmp_path: Path, level: float) -> None:
    appended = [noise(length, level) for length in LENGTHS]
    with StemSpool(tmp_path, "vocals") as spool:
        for samples in appended:
            spool.append(samples)
        spool.end()
        found = read(spool)
        assert [path.stat().st_size for path in tmp_path.iterdir()] == [3 * 2 * sum(LENGTHS)]

    expected = np.concatenate(appended, axis=1)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=float(np.abs(expected).max()) / 2**22 + 1e-36)
    assert list(tmp_path.iterdir()) == []


def test_the_loudest_sample_of_either_sign_keeps_its_sign(tmp_path: Path) -> None:
    for number, loudest in enumerate(np.linspace(0.1, 3, 500, dtype=np.float32)):
        with StemSpool(tmp_path, str(number)) as spool:
            spool.append(np.array([[loudest], [-loudest]], np.float32))
            spool.end()
            assert read(spool) == pytest.approx(np.array([[loudest], [-loudest]]), rel=1e-6)


def test_a_quiet_stretch_keeps_its_bits_beside_a_loud_one(tmp_path: Path) -> None:
    quiet = noise(200_000, 1e-5)
    with StemSpool(tmp_path, "vocals") as spool:
        spool.append(noise(1000, 1.0))
        spool.append(quiet)
        spool.end()
        found = read(spool)[:, 1000:]

    assert float(np.abs(found - quiet).max()) < 1e-10


def test_readers_follow_the_writer_and_may_begin_again(tmp_path: Path) -> None:
    appended = [noise(50_000 + number, 0.3) for number in range(8)]
    found: list[Samples] = []
    with StemSpool(tmp_path, "vocals") as spool:
        readers = [threading.Thread(target=lambda: found.append(read(spool))) for _ in range(2)]
        for reader in readers:
            reader.start()
        for samples in appended:
            spool.append(samples)
        spool.end()
        for reader in readers:
            reader.join(30)
        found.append(read(spool))

    assert len(found) == 3
    for one in found:
        np.testing.assert_allclose(one, np.concatenate(appended, axis=1), rtol=0, atol=1e-6)


def test_abandoned_readers_end_and_later_ones_do_not(tmp_path: Path) -> None:
    with StemSpool(tmp_path, "vocals") as spool:
        spool.append(noise(1000, 0.3))
        early = spool.blocks()
        next(early)
        spool.abandon()
        spool.end()
        with pytest.raises(AbandonedError):
            next(early)
        assert read(spool).shape == (2, 1000)


def test_a_disk_that_is_full_is_named_as_the_reason(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with StemSpool(tmp_path, "vocals") as spool:
        resource.setrlimit(
            resource.RLIMIT_FSIZE, (100_001, limits[1])
        )  # the next write is cut short, as by a full disk
        try:
            with pytest.raises(OSError, match=r"File too large") as raised:
                spool.append(noise(100_000, 0.3))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert raised.value.errno == errno.EFBIG


def test_samples_may_lie_in_memory_in_any_order(tmp_path: Path) -> None:
    samples = noise(1000, 0.3)
    with StemSpool(tmp_path, "vocals") as spool:
        spool.append(np.asfortranarray(samples))
        spool.append(samples[:, ::-1])
        spool.end()
        np.testing.assert_allclose(read(spool), np.concatenate((samples, samples[:, ::-1]), axis=1), rtol=0, atol=1e-6)
