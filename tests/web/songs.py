"""What the search finds in these tests; each song of its own, so that no test is answered from another's result."""

import itertools
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from stemyard_contract.handover import WorkStage
from tests.support.audio import CLIP, read, write_wav
from tests.support.web_world import World
from tests.support.youtube_server import Recording

_numbers = itertools.count(time.time_ns() // 1_000_000 % 1_000_000)
_CLIP = read(CLIP)


@dataclass(frozen=True)
class Song:
    """A song that can be searched."""

    query: str
    title: str


def findable(world: World, title: str = "Slow Motion Dream", channel: str = "Steven M Bryant - Topic") -> Song:
    """Let a search find a recording of this title, and another beside it."""
    number = next(_numbers)
    song = {"title": title, "duration": 11, "channel": channel, "track": title, "artists": ["Steven M Bryant"]}
    karaoke = {"title": f"{title} (Karaoke)", "duration": 12, "channel": f"{channel} Sing"}
    world.youtube.recordings = {
        f"song{number:07}": Recording(song, _recorded(number)),
        f"sing{number:07}": Recording(karaoke, b""),
    }
    return Song(f"Bryant slow motion dream {number}", title)


def _recorded(number: int) -> bytes:
    """Return the clip with a click of its own: the operator copies the stems of audio that it has met before."""
    audio = 0.9 * _CLIP
    audio[:, number * 7919 % audio.shape[1]] = 0.5
    with tempfile.TemporaryDirectory() as folder:
        return write_wav(Path(folder, "song.wav"), audio).read_bytes()


def finished(world: World, title: str = "Slow Motion Dream", channel: str = "Steven M Bryant - Topic") -> str:
    """Return the id of a track that is completed."""
    track = world.submit(search_query=findable(world, title, channel).query)
    world.separate(track)
    world.wait_completed(track)
    return track


def unfindable(world: World) -> Song:
    """Let a search find nothing."""
    world.youtube.recordings = {}
    return Song(f"nothing at all {next(_numbers)}", "")


def fail_search(world: World, track: str) -> None:
    """Let fetch look for a track that cannot be found."""
    world.work(track, WorkStage.FETCH).separate()
