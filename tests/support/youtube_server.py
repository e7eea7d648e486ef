"""A fake YouTube: serves recordings to the extractor plugin in `youtube_plugin/`."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from tests.support.http_server import Exchange, HttpServer

PLUGIN_FOLDER = Path(__file__).parent / "youtube_plugin"


@dataclass
class Recording:
    """The server's responses for one video.

    Attributes:
        info: added to the info dict.
        media: audio file.
        error: message of an extractor's error, instead of an info dict.
        expected: `expected` of the extractor's error.
        status: HTTP status of the media's response.
        chunked: whether the media has no Content-Length.
        cut: whether the connection breaks in the middle.
        stall_seconds: delay before the media.
    """

    info: Mapping[str, Any] = field(default_factory=dict)
    media: bytes = b""
    error: str | None = None
    expected: bool = True
    status: int = 200
    chunked: bool = False
    cut: bool = False
    stall_seconds: float = 0.0


@dataclass
class FakeYoutube:
    """Recordings by video id; searches return all of them, in order, unless `search_error` is set."""

    recordings: dict[str, Recording] = field(default_factory=dict)
    search_error: str | None = None
    queries: list[str] = field(default_factory=list)
    providers: list[str] = field(default_factory=list)
    """PO token providers passed to the extractors."""
    requested: list[str] = field(default_factory=list)
    """Ids of the recordings of which a description or the audio was requested."""

    def __enter__(self) -> Self:
        self._server = HttpServer(self._route).__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.__exit__(kind, error, at)

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that make a separator use this server."""
        return {
            "STEMYARD_FAKE_YOUTUBE_URL": self._server.url,
            "PYTHONPATH": str(PLUGIN_FOLDER),
            "YTDLP_NO_PLUGINS": "",
        }

    def _route(self, exchange: Exchange) -> None:
        _, kind, *rest = exchange.route_path.split("/")
        if kind == "search":
            return self._search(exchange)
        self.requested.append(rest[0])
        recording = self.recordings.get(rest[0])
        if recording is None:
            return _json(exchange, {"error": "Video unavailable"})
        if kind == "media":
            return self._media(exchange, recording)
        self.providers += parse_qs(urlsplit(exchange.path).query).get("provider", [])
        return _json(exchange, _info(rest[0], recording))

    def _search(self, exchange: Exchange) -> None:
        self.queries.append(parse_qs(urlsplit(exchange.path).query)["q"][0])
        if self.search_error is not None:
            return _json(exchange, {"error": self.search_error})
        return _json(exchange, [{"id": video, **_flat(each.info)} for video, each in self.recordings.items()])

    def _media(self, exchange: Exchange, recording: Recording) -> None:
        time.sleep(recording.stall_seconds)
        if recording.status != 200:
            return exchange.answer(recording.status)
        if recording.chunked:
            return exchange.answer_chunked(_blocks(recording.media))
        if recording.cut:
            return exchange.break_off(recording.media)
        return exchange.answer(200, recording.media, Content_Type="audio/mpeg")


def _info(video: str, recording: Recording) -> dict[str, Any]:
    if recording.error is not None:
        return {"error": recording.error, "expected": recording.expected}
    audio = {"format_id": "140", "url": f"/media/{video}", "ext": "mp3", "vcodec": "none", "acodec": "mp3"}
    return {"title": f"Recording {video}", "formats": [audio], **recording.info}


def _flat(info: Mapping[str, Any]) -> dict[str, Any]:
    names = ("title", "duration", "channel", "channel_is_verified", "live_status")
    return {name: info[name] for name in names if name in info}


def _blocks(media: bytes) -> Iterator[bytes]:
    for start in range(0, len(media), 1 << 16):
        yield media[start : start + (1 << 16)]


def _json(exchange: Exchange, value: object) -> None:
    exchange.answer(200, json.dumps(value).encode(), Content_Type="application/json")
