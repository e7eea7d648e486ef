"""Sources of the fetch stage: unusual, invalid and oversized files, and unsafe links."""

import itertools
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from stemyard_contract.failures import FAILURES, FailureCode
from stemyard_contract.separationjob import Source
from tests.support import separator_process as separator
from tests.support.audio import (
    CLIP,
    RATE,
    Audio,
    lag,
    read,
    si_sdr,
    tone,
    with_cover_art,
    write_encoded,
    write_float_wav,
    write_video,
    write_wav,
)
from tests.support.desk_double import DeskDouble
from tests.support.http_server import Exchange, HttpServer, Route

Maker = Callable[[Path], bytes]


def fetch_upload(desk: DeskDouble, upload: Source, content: bytes, folder: Path, **limits: float) -> separator.Ended:
    desk.files["input"] = content
    return separator.run(separator.assignment(desk, upload, **limits), folder)  # type: ignore[arg-type]


def assert_failed(ended: separator.Ended, code: FailureCode, desk: DeskDouble) -> None:
    assert ended.outcome is not None, ended.output
    assert ended.outcome.code is code, ended.outcome
    assert ended.exit_code == FAILURES[code].exit_code
    assert ended.outcome.message
    assert ended.outcome.message.startswith(FAILURES[code].sentence)
    assert not desk.order, "nothing is published"


def fetched_audio(desk: DeskDouble, folder: Path) -> Audio:
    path = folder / "fetched.flac"
    path.write_bytes(desk.files["audio.flac"])
    return read(path) * 2.0 ** separator.fetched_mark(desk).exponent


GOOD: dict[str, Maker] = {
    "mono at 8 kHz": lambda folder: write_wav(folder / "x.wav", tone(2, 8000, 1), 8000).read_bytes(),
    "5.1 channels": lambda folder: write_encoded(folder / "x.flac", tone(2, channels=6), "flac", "5.1").read_bytes(),
    "opus in ogg at 48 kHz": lambda folder: write_encoded(
        folder / "x.ogg", tone(2, 48_000), "libopus", rate=48_000
    ).read_bytes(),
    "aac in mp4": lambda folder: write_encoded(folder / "x.m4a", tone(2), "aac").read_bytes(),
    "film with sound": lambda folder: write_video(folder / "x.mp4", tone(2)).read_bytes(),
    "96 kHz float": lambda folder: write_float_wav(folder / "x.wav", tone(2, 96_000), 96_000).read_bytes(),
}


@pytest.mark.parametrize("kind", GOOD)
def test_unusual_files_become_stereo_at_44_1_khz(desk: DeskDouble, upload: Source, tmp_path: Path, kind: str) -> None:
    ended = fetch_upload(desk, upload, GOOD[kind](tmp_path), tmp_path)

    assert ended.exit_code == 0, ended.output
    audio = fetched_audio(desk, tmp_path)
    assert audio.shape[1] == pytest.approx(2 * RATE, abs=2100), "a codec may pad its last frame"
    assert np.abs(audio).max() > 0.3


def test_mono_goes_to_both_sides_at_full_level(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    source = tone(1, channels=1)

    fetch_upload(desk, upload, write_wav(tmp_path / "x.wav", source).read_bytes(), tmp_path)

    assert np.abs(fetched_audio(desk, tmp_path) - source).max() < 1e-4


def test_the_centre_of_5_1_goes_to_both_sides(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    channels = np.zeros((6, RATE))
    channels[2] = tone(1, channels=1)

    fetch_upload(desk, upload, write_encoded(tmp_path / "x.flac", channels, "flac", "5.1").read_bytes(), tmp_path)

    assert np.abs(fetched_audio(desk, tmp_path) - channels[2] * np.sqrt(0.5)).max() < 1e-3


def test_resampling_keeps_the_sound(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    source = write_float_wav(tmp_path / "x.wav", tone(2, 48_000), 48_000)

    fetch_upload(desk, upload, source.read_bytes(), tmp_path)

    audio = fetched_audio(desk, tmp_path)
    assert audio.shape == (2, 2 * RATE)
    middle = slice(RATE // 2, -RATE // 2)
    assert si_sdr(tone(2)[:, middle], audio[:, middle]) > 90


def test_cover_art_is_not_audio(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    ended = fetch_upload(desk, upload, with_cover_art(CLIP.read_bytes()), tmp_path)

    assert ended.exit_code == 0, ended.output
    audio, clip = fetched_audio(desk, tmp_path), read(CLIP)
    assert lag(clip, audio) == 0
    assert audio.shape == clip.shape


PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n/etc/hostname\n#EXT-X-ENDLIST\n"
BAD: dict[str, tuple[Maker, FailureCode]] = {
    "nothing": (lambda folder: b"", FailureCode.SOURCE_UNDECODABLE),
    "noise": (lambda folder: np.random.default_rng(7).bytes(200_000), FailureCode.SOURCE_UNDECODABLE),
    "a web page": (lambda folder: b"<!doctype html><title>Song</title>" * 500, FailureCode.SOURCE_UNDECODABLE),
    "a playlist of local files": (lambda folder: PLAYLIST, FailureCode.SOURCE_UNDECODABLE),
    "a concat script": (lambda folder: b"ffconcat version 1.0\nfile /etc/hostname\n", FailureCode.SOURCE_UNDECODABLE),
    "a truncated mp3": (lambda folder: CLIP.read_bytes()[:300], FailureCode.SOURCE_UNDECODABLE),
    "samples that are NaN": (
        lambda folder: write_float_wav(folder / "x.wav", np.full((2, RATE), np.nan)).read_bytes(),
        FailureCode.SOURCE_UNDECODABLE,
    ),
    "a click": (lambda folder: write_wav(folder / "x.wav", tone(0.05)).read_bytes(), FailureCode.SOURCE_TOO_SHORT),
}


@pytest.mark.parametrize("kind", BAD)
def test_sources_that_cannot_be_separated_fail_with_their_code(
    desk: DeskDouble, upload: Source, tmp_path: Path, kind: str
) -> None:
    maker, code = BAD[kind]

    assert_failed(fetch_upload(desk, upload, maker(tmp_path), tmp_path), code, desk)


def test_a_damaged_file_is_decoded_as_far_as_possible(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    content = bytearray(CLIP.read_bytes())
    content[100_000:101_000] = bytes(1000)

    assert fetch_upload(desk, upload, bytes(content), tmp_path).exit_code == 0


def test_damaged_samples_are_counted_in_the_mark(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    song = tone(1)
    song[:, 500] = np.nan
    content = write_float_wav(tmp_path / "x.wav", song).read_bytes()

    ended = fetch_upload(desk, upload, content, tmp_path)

    assert ended.exit_code == 0, ended.output
    assert separator.fetched_mark(desk).invalid_samples == 2
    assert [line["invalid_samples"] for line in ended.lines() if line["message"] == "source decoded"] == [2]


def test_duration_and_size_limits(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    clip = CLIP.read_bytes()

    ended = fetch_upload(desk, upload, clip, tmp_path / "a", max_seconds=10)
    assert_failed(ended, FailureCode.SOURCE_TOO_LONG, desk)
    ended = fetch_upload(desk, upload, clip, tmp_path / "b", max_bytes=len(clip) - 1)
    assert_failed(ended, FailureCode.SOURCE_TOO_LARGE, desk)
    assert fetch_upload(desk, upload, clip, tmp_path / "c", max_bytes=len(clip), max_seconds=11).exit_code == 0


def fetch_link(
    desk: DeskDouble, route: Route, folder: Path, path: str = "/song.mp3", max_bytes: int = 50 << 20
) -> separator.Ended:
    with HttpServer(route) as server:
        assignment = separator.assignment(desk, Source(url=server.url + path), max_bytes=max_bytes)
        return separator.run(assignment, folder)


def test_a_link_to_a_file(desk: DeskDouble, tmp_path: Path) -> None:
    def route(exchange: Exchange) -> None:
        exchange.answer(200, (Path(CLIP).parent / "vocals.flac").read_bytes())

    ended = fetch_link(desk, route, tmp_path, "/music/My%20Song.flac?key=secret")

    assert ended.exit_code == 0, ended.output
    assert separator.fetched_mark(desk).media.title == "My Song"
    assert "secret" not in ended.output


def test_redirects_are_followed(desk: DeskDouble, tmp_path: Path) -> None:
    def route(exchange: Exchange) -> None:
        if exchange.route_path == "/song.mp3":
            return exchange.answer(302, Location="/elsewhere")
        return exchange.answer(200, CLIP.read_bytes())

    assert fetch_link(desk, route, tmp_path).exit_code == 0


def endless(exchange: Exchange) -> None:
    def blocks() -> Iterator[bytes]:
        for _ in itertools.count():
            yield bytes(1 << 16)

    exchange.answer_chunked(blocks())


def redirect_loop(exchange: Exchange) -> None:
    exchange.answer(301, Location=exchange.path)


LINKS: dict[str, tuple[Route, FailureCode]] = {
    "endless, length unknown": (endless, FailureCode.SOURCE_TOO_LARGE),
    "declared too large": (lambda it: it.answer(200, bytes(2 << 20)), FailureCode.SOURCE_TOO_LARGE),
    "redirect loop": (redirect_loop, FailureCode.SOURCE_UNAVAILABLE),
    "connection broken": (lambda it: it.break_off(CLIP.read_bytes()), FailureCode.SOURCE_NETWORK),
    "401": (lambda it: it.answer(401), FailureCode.SOURCE_LOGIN_REQUIRED),
    "403": (lambda it: it.answer(403), FailureCode.SOURCE_FORBIDDEN),
    "404": (lambda it: it.answer(404), FailureCode.SOURCE_UNAVAILABLE),
    "429": (lambda it: it.answer(429), FailureCode.SOURCE_RATE_LIMITED),
    "500": (lambda it: it.answer(500), FailureCode.SOURCE_NETWORK),
}


@pytest.mark.parametrize("kind", LINKS)
def test_links_that_fail(desk: DeskDouble, tmp_path: Path, kind: str) -> None:
    route, code = LINKS[kind]

    assert_failed(fetch_link(desk, route, tmp_path, max_bytes=1 << 20), code, desk)


@pytest.mark.parametrize(
    "target",
    ["http://127.0.0.2:{port}/", "http://10.0.0.1/", "http://169.254.169.254/latest/meta-data/", "file:///etc/passwd"],
)
def test_redirects_to_private_addresses_are_refused(desk: DeskDouble, tmp_path: Path, target: str) -> None:
    visits: list[str] = []

    def route(exchange: Exchange) -> None:
        visits.append(exchange.path)
        exchange.answer(302, Location=target.format(port=exchange.server.server_address[1]))

    assert_failed(fetch_link(desk, route, tmp_path), FailureCode.SOURCE_ADDRESS_REFUSED, desk)
    assert visits == ["/song.mp3"]


def test_a_private_address_gets_no_request(desk: DeskDouble, tmp_path: Path) -> None:
    visits: list[str] = []
    with HttpServer(lambda exchange: visits.append(exchange.path)) as server:
        assignment = separator.assignment(desk, Source(url=f"http://localhost:{server.port}/song.mp3"))
        ended = separator.run(assignment, tmp_path, STEMYARD_FETCH_ALLOWED_CIDRS="")

    assert_failed(ended, FailureCode.SOURCE_ADDRESS_REFUSED, desk)
    assert not visits


def self_signed(folder: Path, name: str) -> Path:
    """Return a PEM file with the key and the certificate of a server of that name."""
    key, certificate, both = folder / "key.pem", folder / "certificate.pem", folder / "both.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    subject = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-days", "2"]
    subprocess.run([*command, *subject, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    return both


@pytest.mark.parametrize(("name", "code"), [("localhost", None), ("elsewhere.invalid", FailureCode.SOURCE_NETWORK)])
def test_a_pinned_https_link_requires_the_hosts_certificate(
    desk: DeskDouble, tmp_path: Path, name: str, code: FailureCode | None
) -> None:
    pem = self_signed(tmp_path, name)
    trusted = {"SSL_CERT_FILE": str(pem), "STEMYARD_FETCH_ALLOWED_CIDRS": "127.0.0.1/32,::1/128"}
    hosts: list[str | None] = []

    def route(exchange: Exchange) -> None:
        hosts.append(exchange.headers.get("Host"))
        exchange.answer(200, CLIP.read_bytes())

    with HttpServer(route, pem) as server:
        assignment = separator.assignment(desk, Source(url=f"https://localhost:{server.port}/song.mp3"))
        ended = separator.run(assignment, tmp_path, **trusted)

    assert ended.outcome is not None
    assert ended.outcome.code is code, ended.output
    assert hosts == ([f"localhost:{server.port}"] if code is None else [])
