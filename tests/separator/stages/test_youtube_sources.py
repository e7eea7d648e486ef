"""Search and download with the real yt-dlp, whose extractors use a local server instead of YouTube."""

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from stemyard_contract.failures import FAILURES, FailureCode
from stemyard_contract.separationjob import Source
from tests.support import separator_process as separator
from tests.support.audio import CLIP
from tests.support.desk_double import DeskDouble
from tests.support.http_server import Exchange, HttpServer
from tests.support.youtube_server import FakeYoutube, Recording

VIDEO, OTHER = "abcdefghijk", "bcdefghijkl"
CLIP_BYTES = CLIP.read_bytes()
LINK = Source(url=f"https://youtu.be/{VIDEO}?si=x&list=PL1")
QUERY = Source(search_query="Bryant slow motion dream")


@pytest.fixture
def youtube() -> Iterator[FakeYoutube]:
    with FakeYoutube() as running:
        yield running


def fetch(desk: DeskDouble, youtube: FakeYoutube, source: Source, folder: Path, **options: int) -> separator.Ended:
    return separator.run(separator.assignment(desk, source, **options), folder, **youtube.environment)  # type: ignore[arg-type]


def assert_failed(ended: separator.Ended, code: FailureCode, desk: DeskDouble) -> None:
    assert ended.outcome is not None, ended.output
    assert ended.outcome.code is code, ended.outcome
    assert ended.exit_code == FAILURES[code].exit_code
    assert not desk.order


def test_a_search_chooses_the_song_and_records_the_candidates(
    desk: DeskDouble, youtube: FakeYoutube, tmp_path: Path
) -> None:
    karaoke = Recording({"title": "Slow Motion Dream (Karaoke) Bryant", "duration": 200}, CLIP_BYTES)
    song = Recording(
        {
            "title": "Slow Motion Dream",
            "duration": 199,
            "channel": "Steven M Bryant - Topic",
            "artists": ["Steven M Bryant", "CSoul"],
            "track": "Slow Motion Dream",
        },
        CLIP_BYTES,
    )
    youtube.recordings = {OTHER: karaoke, VIDEO: song}

    ended = fetch(desk, youtube, QUERY, tmp_path)

    assert ended.exit_code == 0, ended.output
    assert youtube.queries == ["Bryant slow motion dream"]
    mark = separator.fetched_mark(desk)
    assert [(each.media_id, each.chosen) for each in mark.candidates] == [
        (f"youtube:{VIDEO}", True),
        (f"youtube:{OTHER}", False),
    ]
    assert mark.candidates[0].score > mark.candidates[1].score
    assert mark.media.media_id == f"youtube:{VIDEO}"
    assert mark.media.webpage_url == f"https://www.youtube.com/watch?v={VIDEO}"
    assert (mark.media.title, mark.media.artist) == ("Slow Motion Dream", "Steven M Bryant, CSoul")
    assert mark.received_bytes == len(CLIP_BYTES)
    steps = [each.step for each in desk.progress]
    assert steps[0] == "search"


def test_a_youtube_link_is_reduced_to_its_video_id(desk: DeskDouble, youtube: FakeYoutube, tmp_path: Path) -> None:
    youtube.recordings = {VIDEO: Recording({"duration": 11}, CLIP_BYTES, chunked=True)}

    ended = fetch(desk, youtube, LINK, tmp_path)

    assert ended.exit_code == 0, ended.output
    assert not youtube.queries
    assert not separator.fetched_mark(desk).candidates


def test_a_link_as_query_is_treated_as_a_link(desk: DeskDouble, youtube: FakeYoutube, tmp_path: Path) -> None:
    youtube.recordings = {VIDEO: Recording({"duration": 11}, CLIP_BYTES)}

    assert fetch(desk, youtube, Source(search_query=LINK.url), tmp_path).exit_code == 0
    assert not youtube.queries


def test_a_query_that_looks_like_a_url_is_only_searched(desk: DeskDouble, youtube: FakeYoutube, tmp_path: Path) -> None:
    ended = fetch(desk, youtube, Source(search_query="http://127.0.0.1:1/song.mp3"), tmp_path)

    assert_failed(ended, FailureCode.SOURCE_NOT_FOUND, desk)
    assert youtube.queries == ["http://127.0.0.1:1/song.mp3"]


def test_a_search_without_results(desk: DeskDouble, youtube: FakeYoutube, tmp_path: Path) -> None:
    assert_failed(fetch(desk, youtube, QUERY, tmp_path), FailureCode.SOURCE_NOT_FOUND, desk)


def test_a_search_that_is_refused(desk: DeskDouble, youtube: FakeYoutube, tmp_path: Path) -> None:
    youtube.search_error = "Sign in to confirm you’re not a bot"

    assert_failed(fetch(desk, youtube, QUERY, tmp_path), FailureCode.SOURCE_BOT_CHECK, desk)


def test_a_search_that_finds_live_streams_only(desk: DeskDouble, youtube: FakeYoutube, tmp_path: Path) -> None:
    youtube.recordings = {VIDEO: Recording({"live_status": "is_live"})}

    assert_failed(fetch(desk, youtube, QUERY, tmp_path), FailureCode.SOURCE_LIVE, desk)


@pytest.mark.parametrize(
    "link", ["https://www.youtube.com/playlist?list=PL1", "https://youtu.be/", "https://m.youtube.com/@channel"]
)
def test_a_link_without_a_video(desk: DeskDouble, youtube: FakeYoutube, tmp_path: Path, link: str) -> None:
    assert_failed(fetch(desk, youtube, Source(url=link), tmp_path), FailureCode.SOURCE_NOT_FOUND, desk)


def test_youtube_can_be_disabled(desk: DeskDouble, youtube: FakeYoutube, tmp_path: Path) -> None:
    youtube.recordings = {VIDEO: Recording({"duration": 11}, CLIP_BYTES)}

    for index, source in enumerate((QUERY, LINK)):
        ended = fetch(desk, youtube, source, tmp_path / str(index), youtube_enabled=False)
        assert_failed(ended, FailureCode.SOURCE_DISABLED, desk)
    assert not youtube.queries


FAILING: dict[str, tuple[Recording, FailureCode]] = {
    "live": (Recording({"live_status": "is_live"}, CLIP_BYTES), FailureCode.SOURCE_LIVE),
    "drm": (Recording(error="This video is DRM protected"), FailureCode.SOURCE_DRM),
    "bot": (Recording(error="Sign in to confirm you’re not a bot. Use --cookies"), FailureCode.SOURCE_BOT_CHECK),
    "age": (Recording(error="Sign in to confirm your age"), FailureCode.SOURCE_AGE_RESTRICTED),
    "private": (
        Recording(error="Private video. Sign in if you've been granted access"),
        FailureCode.SOURCE_UNAVAILABLE,
    ),
    "403": (Recording(media=CLIP_BYTES, status=403), FailureCode.SOURCE_FORBIDDEN),
    "404": (Recording(media=CLIP_BYTES, status=404), FailureCode.SOURCE_UNAVAILABLE),
    "429": (Recording(media=CLIP_BYTES, status=429), FailureCode.SOURCE_RATE_LIMITED),
    "503": (Recording(media=CLIP_BYTES, status=503), FailureCode.SOURCE_NETWORK),
    "connection broken": (Recording(media=CLIP_BYTES, cut=True), FailureCode.SOURCE_NETWORK),
    "too long": (Recording({"duration": 5000}, CLIP_BYTES), FailureCode.SOURCE_TOO_LONG),
    "a page that changed": (Recording(error="no such key", expected=False), FailureCode.EXTRACTOR_BROKEN),
    "no audio in it": (Recording(media=b"<html>" * 1000), FailureCode.SOURCE_UNDECODABLE),
}


@pytest.mark.parametrize("kind", FAILING)
def test_recordings_that_fail(desk: DeskDouble, youtube: FakeYoutube, tmp_path: Path, kind: str) -> None:
    recording, code = FAILING[kind]
    youtube.recordings = {VIDEO: recording}

    assert_failed(fetch(desk, youtube, LINK, tmp_path), code, desk)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_recording_over_the_size_limit_is_refused(
    desk: DeskDouble, youtube: FakeYoutube, tmp_path: Path, chunked: bool
) -> None:
    youtube.recordings = {VIDEO: Recording(media=CLIP_BYTES * 8, chunked=chunked)}

    ended = fetch(desk, youtube, LINK, tmp_path, max_bytes=300_000)

    assert_failed(ended, FailureCode.SOURCE_TOO_LARGE, desk)


def test_a_download_that_never_ends_is_stopped(desk: DeskDouble, youtube: FakeYoutube, tmp_path: Path) -> None:
    youtube.recordings = {VIDEO: Recording(media=CLIP_BYTES, stall_seconds=30)}

    ended = separator.run(
        separator.assignment(desk, LINK), tmp_path, STEMYARD_YOUTUBE_DEADLINE_SECONDS="4", **youtube.environment
    )

    assert_failed(ended, FailureCode.SOURCE_NETWORK, desk)


def test_a_read_only_cookie_file_is_copied(desk: DeskDouble, youtube: FakeYoutube, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    cookies = secret / "cookies.txt"
    text = "# Netscape HTTP Cookie File\n.youtube.com\tTRUE\t/\tTRUE\t2147483647\tNAME\thidden-value\n"
    cookies.write_text(text)
    cookies.chmod(0o400)
    youtube.recordings = {VIDEO: Recording({"duration": 11}, CLIP_BYTES)}

    ended = separator.run(
        separator.assignment(desk, LINK), tmp_path, STEMYARD_YOUTUBE_COOKIES=str(cookies), **youtube.environment
    )

    assert ended.exit_code == 0, ended.output
    assert cookies.read_text() == text
    assert "hidden-value" not in ended.output


@pytest.mark.parametrize("text", [None, "{}"])
def test_unusable_cookies_are_a_configuration_error(
    desk: DeskDouble, youtube: FakeYoutube, tmp_path: Path, text: str | None
) -> None:
    cookies = tmp_path / "cookies.txt"
    if text is not None:
        cookies.write_text(text)

    ended = separator.run(
        separator.assignment(desk, LINK), tmp_path, STEMYARD_YOUTUBE_COOKIES=str(cookies), **youtube.environment
    )

    assert_failed(ended, FailureCode.INTERNAL_CONFIG, desk)


def test_a_proxy_is_used_and_its_password_not_logged(desk: DeskDouble, youtube: FakeYoutube, tmp_path: Path) -> None:
    youtube.recordings = {VIDEO: Recording({"duration": 11}, CLIP_BYTES)}

    ended = separator.run(
        separator.assignment(desk, LINK),
        tmp_path,
        STEMYARD_YOUTUBE_PROXY="http://user:hidden-word@127.0.0.1:9",
        **youtube.environment,
    )

    assert_failed(ended, FailureCode.SOURCE_NETWORK, desk)
    assert "hidden-word" not in ended.output


def test_all_requests_go_through_the_proxy_with_the_cookies(
    desk: DeskDouble, youtube: FakeYoutube, tmp_path: Path
) -> None:
    passed: list[tuple[str, str | None, str | None]] = []

    def forward(exchange: Exchange) -> None:
        # a request to a proxy contains the full URL
        passed.append((exchange.path, exchange.headers["Proxy-Authorization"], exchange.headers["Cookie"]))
        direct = build_opener(ProxyHandler({}))
        with direct.open(Request(exchange.path), timeout=10) as answer:
            exchange.answer(answer.status, answer.read(), Content_Type=answer.headers["Content-Type"])

    cookies = tmp_path / "cookies.txt"
    cookies.write_text("# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t2147483647\tNAME\thidden-value\n")
    youtube.recordings = {VIDEO: Recording({"duration": 11}, CLIP_BYTES)}
    with HttpServer(forward) as proxy:
        ended = separator.run(
            separator.assignment(desk, QUERY),
            tmp_path / "fetch",
            STEMYARD_YOUTUBE_PROXY=proxy.url.replace("http://", "http://user:hidden-word@"),
            STEMYARD_YOUTUBE_COOKIES=str(cookies),
            **youtube.environment,
        )

    assert ended.exit_code == 0, ended.output
    site, credentials = youtube.environment["STEMYARD_FAKE_YOUTUBE_URL"], b64encode(b"user:hidden-word").decode()
    assert {address.removeprefix(site).split("/")[1].partition("?")[0] for address, _, _ in passed} == {
        "search",
        "video",
        "media",
    }
    assert {(authorization, cookie) for _, authorization, cookie in passed} == {
        (f"Basic {credentials}", "NAME=hidden-value")
    }
    assert "hidden" not in ended.output


def test_plugins_are_disabled_by_default(desk: DeskDouble, youtube: FakeYoutube, tmp_path: Path) -> None:
    youtube.recordings = {VIDEO: Recording(media=CLIP_BYTES)}
    environment = youtube.environment | {"YTDLP_NO_PLUGINS": "1", "STEMYARD_YOUTUBE_DEADLINE_SECONDS": "20"}

    ended = separator.run(separator.assignment(desk, QUERY), tmp_path, **environment, HTTPS_PROXY="http://127.0.0.1:9")

    assert ended.exit_code != 0
    assert not youtube.queries


def test_a_po_token_provider_enables_its_plugin(desk: DeskDouble, youtube: FakeYoutube, tmp_path: Path) -> None:
    youtube.recordings = {VIDEO: Recording({"duration": 11}, CLIP_BYTES)}
    environment = youtube.environment | {"YTDLP_NO_PLUGINS": "1", "STEMYARD_YOUTUBE_PO_TOKEN_URL": "http://pot:4416"}

    ended = separator.run(separator.assignment(desk, LINK), tmp_path, **environment)

    assert ended.exit_code == 0, ended.output
    assert youtube.providers == ["http://pot:4416"]


def test_cookies_are_copied_to_the_private_folder(desk: DeskDouble, youtube: FakeYoutube, tmp_path: Path) -> None:
    cookies, private = tmp_path / "cookies.txt", tmp_path / "private"
    cookies.write_text("# Netscape HTTP Cookie File\n.youtube.com\tTRUE\t/\tTRUE\t2147483647\tNAME\thidden\n")
    private.mkdir()
    youtube.recordings = {VIDEO: Recording({"duration": 11}, CLIP_BYTES)}
    environment = {"STEMYARD_YOUTUBE_COOKIES": str(cookies), "STEMYARD_PRIVATE_DIR": str(private)}

    ended = separator.run(separator.assignment(desk, LINK), tmp_path, **environment, **youtube.environment)

    assert ended.exit_code == 0, ended.output
    assert not (private / "cookies.txt").stat().st_mode & 0o077


def test_download_delays_are_applied(desk: DeskDouble, youtube: FakeYoutube, tmp_path: Path) -> None:
    youtube.recordings = {VIDEO: Recording({"duration": 11}, CLIP_BYTES)}

    ended = separator.run(
        separator.assignment(desk, LINK),
        tmp_path,
        STEMYARD_YOUTUBE_DOWNLOAD_DELAY="600",
        STEMYARD_YOUTUBE_DEADLINE_SECONDS="6",
        **youtube.environment,
    )

    assert_failed(ended, FailureCode.SOURCE_NETWORK, desk)


SITE = Source(url=f"https://site.invalid/{VIDEO}")


def test_another_site_is_downloaded_if_its_extractor_is_allowed(
    desk: DeskDouble, youtube: FakeYoutube, tmp_path: Path
) -> None:
    youtube.recordings = {VIDEO: Recording({"duration": 11, "title": "A song"}, CLIP_BYTES)}
    environment = {"STEMYARD_EXTRACTORS": "soundcloud,stemyard:site", **youtube.environment}

    ended = separator.run(separator.assignment(desk, SITE, youtube_enabled=False), tmp_path, **environment)

    assert ended.exit_code == 0, ended.output
    media = separator.fetched_mark(desk).media
    assert (media.media_id, media.title) == (f"stemyard:site:{VIDEO}", "A song")


def test_a_list_of_recordings_is_refused_before_anything_of_it_is_requested(
    desk: DeskDouble, youtube: FakeYoutube, tmp_path: Path
) -> None:
    youtube.recordings = {name: Recording({"duration": 11}, CLIP_BYTES) for name in (VIDEO, OTHER)}
    environment = {"STEMYARD_EXTRACTORS": "stemyard:set,stemyard:site", **youtube.environment}
    album = Source(url=f"https://site.invalid/sets/{VIDEO},{OTHER}")

    ended = separator.run(separator.assignment(desk, album), tmp_path, **environment)

    assert_failed(ended, FailureCode.SOURCE_NOT_FOUND, desk)
    assert "list of recordings" in ended.output
    assert not youtube.requested


def test_a_link_without_a_matching_extractor_is_downloaded_directly(
    desk: DeskDouble, youtube: FakeYoutube, tmp_path: Path
) -> None:
    with HttpServer(lambda exchange: exchange.answer(200, CLIP_BYTES)) as server:
        assignment = separator.assignment(desk, Source(url=f"{server.url}/song.mp3"))
        ended = separator.run(assignment, tmp_path, STEMYARD_EXTRACTORS="soundcloud", **youtube.environment)

    assert ended.exit_code == 0, ended.output
    assert separator.fetched_mark(desk).media.title is not None


def test_a_site_without_an_allowed_extractor_is_a_direct_link(
    desk: DeskDouble, youtube: FakeYoutube, tmp_path: Path
) -> None:
    youtube.recordings = {VIDEO: Recording({"duration": 11}, CLIP_BYTES)}

    ended = separator.run(separator.assignment(desk, SITE), tmp_path, **youtube.environment)

    assert_failed(ended, FailureCode.SOURCE_NETWORK, desk)  # site.invalid does not resolve
