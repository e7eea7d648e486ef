"""A large file is sent in parts: a broken part is sent again, and after a reload nothing that has arrived."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Request, Route, expect

from stemyard_contract.identity import upload_key
from tests.support import operator_world
from tests.support.servers import Api
from tests.support.web_world import World, allow_pages
from tests.web.visitor import Visitor

MIB = 1024 * 1024
SIZE = 40 * MIB
"""Two parts of 16 MiB, and the rest."""
_COLLECT_HINTS = """() => {
  const hint = document.getElementById("ask-hint");
  window.hints = [];
  new MutationObserver(() => hints.push(hint.textContent)).observe(hint, { childList: true });
}"""
"""Notes what the page says, which may be there for a second only."""


@pytest.fixture(scope="module")
def large(running: World) -> Iterator[Api]:
    """The system with a higher limit, and a page that may upload."""
    with running.another_api(MAX_FILE_SIZE_MB="200") as api:
        allow_pages(running.cluster, running.url, api.url)
        yield api
        allow_pages(running.cluster, running.url)


@pytest.fixture
def visitor(browser: Browser, large: Api) -> Iterator[Visitor]:
    with Visitor.arriving(browser, large.url) as found:
        found.enter()
        yield found


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "concert.flac"
    path.write_bytes(Random(str(tmp_path)).randbytes(SIZE))  # others than in other tests
    return path


def part_of(request: Request) -> int | None:
    """The number of the part that a request sends to the store."""
    if request.method != "PUT":
        return None
    numbers = parse_qs(urlsplit(request.url).query).get("partNumber")
    return None if numbers is None else int(numbers[0])


def sent(visitor: Visitor) -> list[int]:
    """The numbers of the parts that are sent from now on, in the order in which the store has them."""
    numbers: list[int] = []

    def note(request: Request) -> None:
        number = part_of(request)
        if number is not None:
            numbers.append(number)

    visitor.page.on("requestfinished", note)
    return numbers


def breaking(visitor: Visitor, number: int, times: int | None = None) -> Callable[[], None]:
    """Break off requests that send a part, all of them or the first few; return what ends that."""
    visitor.expected = "ERR_CONNECTION_RESET"
    broken = 0

    def route(route: Route) -> None:
        nonlocal broken
        if part_of(route.request) == number and (times is None or broken < times):
            broken += 1
            route.abort("connectionreset")
        else:
            route.continue_()

    visitor.page.route("**/*partNumber=*", route)
    return lambda: visitor.page.unroute("**/*partNumber=*")


def choose(visitor: Visitor, file: Path) -> None:
    visitor.page.locator("#file").set_input_files(file)


def submit(visitor: Visitor) -> None:
    visitor.page.get_by_role("button", name="Separate").click()


def upload_ids(visitor: Visitor) -> list[str]:
    """The uploads that the browser remembers."""
    found = "Object.keys(localStorage).filter((name) => name.startsWith('stemyard.upload.'))"
    return list(visitor.page.evaluate(f"{found}.map((name) => JSON.parse(localStorage[name]).upload_id)"))


def check_stored(world: World, track: str, file: Path) -> None:
    """The file of a track is in the store as it is on the disk."""
    source = world.cluster.separation(f"sep-{track}").spec.source
    assert source.upload is not None
    key = upload_key(operator_world.INSTALL, source.upload.owner, source.upload.id)
    client = world.cluster.store.client()
    stored = client.get_object(Bucket=world.cluster.store.bucket, Key=key)["Body"].read()
    client.close()
    assert stored == file.read_bytes()


def test_an_interrupted_part_is_sent_again(running: World, visitor: Visitor, recording: Path) -> None:
    numbers = sent(visitor)
    breaking(visitor, 2, times=2)
    visitor.page.evaluate(_COLLECT_HINTS)
    choose(visitor, recording)
    submit(visitor)
    track = visitor.shown_track()
    hints = visitor.page.evaluate("hints")
    assert [text for text in hints if re.fullmatch(r"Interrupted at \d+ %, trying again…", text)], hints
    assert sorted(numbers) == [1, 2, 3]
    check_stored(running, track, recording)
    assert upload_ids(visitor) == []


def test_an_upload_is_continued_after_a_reload(running: World, visitor: Visitor, recording: Path) -> None:
    numbers = sent(visitor)
    mend = breaking(visitor, 2)
    choose(visitor, recording)
    submit(visitor)
    expect(visitor.page.locator("#ask-hint")).to_contain_text("Interrupted at 60 %", timeout=60_000)
    assert sorted(numbers) == [1, 3]
    [upload] = upload_ids(visitor)
    mend()
    visitor.page.reload()
    hint = visitor.page.locator("#ask-hint")
    expect(hint).to_have_text("To continue the upload of “concert.flac”, choose it again.")
    choose(visitor, recording)
    expect(hint).to_have_text("Its upload is continued when you press Separate.")
    submit(visitor)
    track = visitor.shown_track()
    assert sorted(numbers) == [1, 2, 3]
    source = running.cluster.separation(f"sep-{track}").spec.source
    assert source.upload is not None
    assert source.upload.id == upload
    check_stored(running, track, recording)


def test_a_file_of_the_same_name_with_other_content_is_sent_anew(
    running: World, visitor: Visitor, recording: Path
) -> None:
    """Also if its size and date are the same, which the browser cannot tell apart."""
    numbers = sent(visitor)
    mend = breaking(visitor, 2)
    choose(visitor, recording)
    submit(visitor)
    expect(visitor.page.locator("#ask-hint")).to_contain_text("Interrupted at 60 %", timeout=60_000)
    mend()
    visitor.page.reload()
    [name] = visitor.page.evaluate("Object.keys(localStorage).filter((name) => name.startsWith('stemyard.upload.'))")
    content = bytearray(recording.read_bytes())
    content[0] ^= 255
    recording.write_bytes(content)
    modified = int(recording.stat().st_mtime_ns // 1_000_000)
    moved = re.sub(r"^(stemyard\.upload\.\d+\.)\d+", rf"\g<1>{modified}", name)
    visitor.page.evaluate("([from, to]) => localStorage.setItem(to, localStorage[from])", [name, moved])
    choose(visitor, recording)
    submit(visitor)
    track = visitor.shown_track()
    assert sorted(numbers) == [1, 1, 2, 3]
    check_stored(running, track, recording)


def test_an_upload_is_stopped_and_dropped(visitor: Visitor, large: Api, recording: Path) -> None:
    breaking(visitor, 2)
    choose(visitor, recording)
    submit(visitor)
    hint = visitor.page.locator("#ask-hint")
    expect(hint).to_contain_text("Interrupted at 60 %", timeout=60_000)
    visitor.page.get_by_role("button", name="Stop").click()
    expect(hint).to_have_text("Its upload is continued when you press Separate.")
    [upload] = upload_ids(visitor)
    with large.client() as client:
        assert [part["number"] for part in client.get(f"/uploads/{upload}").json()["received"]] == [1, 3]
        with visitor.page.expect_response(f"**/uploads/{upload}"):
            visitor.page.get_by_role("button", name="Remove concert.flac").click()
        assert client.get(f"/uploads/{upload}").status_code == 404
    assert upload_ids(visitor) == []
    expect(hint).to_contain_text("Or drop audio files anywhere, up to 200 MiB each.")


def test_what_was_sent_is_not_sent_again_if_the_separation_was_refused(
    running: World, visitor: Visitor, recording: Path
) -> None:
    visitor.expected = "status of 503"
    numbers = sent(visitor)
    refusal = {"code": "UNAVAILABLE", "detail": "Not now."}
    visitor.page.route("**/separate-audio", lambda route: route.fulfill(status=503, json=refusal), times=1)
    choose(visitor, recording)
    submit(visitor)
    expect(visitor.page.locator("#compose-problem")).to_contain_text("Not now.")
    submit(visitor)
    check_stored(running, visitor.shown_track(), recording)
    assert sorted(numbers) == [1, 2, 3]


def test_a_small_file_is_sent_whole(visitor: Visitor, tmp_path: Path) -> None:
    song = tmp_path / "song.mp3"
    song.write_bytes(Random(str(tmp_path)).randbytes(MIB))
    numbers = sent(visitor)
    choose(visitor, song)
    submit(visitor)
    visitor.shown_track()
    assert numbers == []


def test_who_forgets_the_key_leaves_no_names_of_files(visitor: Visitor, recording: Path) -> None:
    breaking(visitor, 2)
    choose(visitor, recording)
    submit(visitor)
    expect(visitor.page.locator("#ask-hint")).to_contain_text("Interrupted at 60 %", timeout=60_000)
    visitor.page.get_by_role("button", name="Stop").click()
    visitor.page.get_by_role("button", name="forget it").click()
    assert visitor.page.evaluate("JSON.stringify(localStorage)") == "{}"
