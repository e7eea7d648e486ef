"""yt-dlp extractors that call a test server instead of YouTube; everything else is the real yt-dlp.

`STEMYARD_FAKE_YOUTUBE_URL` names the server: `GET /search?q=` answers a JSON list of entries, `GET /video/<id>` a JSON
info dict, whose format addresses may begin with `/`, or `{"error": sentence, "expected": bool}`.
Needs this folder on PYTHONPATH and YTDLP_NO_PLUGINS empty.
"""
# mypy: disable-error-code="misc, call-arg"

import os
import urllib.parse
from collections.abc import Iterator
from typing import Any

from yt_dlp.extractor.common import InfoExtractor
from yt_dlp.extractor.youtube import YoutubeIE, YoutubeSearchIE
from yt_dlp.utils import ExtractorError

_SERVER = os.environ["STEMYARD_FAKE_YOUTUBE_URL"].rstrip("/")


class StemyardYoutubeIE(YoutubeIE, plugin_name="stemyard"):
    def _real_extract(self, url: str) -> dict[str, Any]:
        video = self._match_id(url)
        provider = self._configuration_arg("base_url", [""], ie_key="youtubepot-bgutilhttp", casesense=True)[0]
        info = self._download_json(f"{_SERVER}/video/{video}", video, query={"provider": provider} if provider else {})
        if "error" in info:
            raise ExtractorError(info["error"], expected=info.get("expected", True), video_id=video)
        for each in info.get("formats", ()):
            each["url"] = urllib.parse.urljoin(_SERVER, each["url"])
        return {"id": video, "webpage_url": f"https://www.youtube.com/watch?v={video}", **info}


class StemyardYoutubeSearchIE(YoutubeSearchIE, plugin_name="stemyard"):
    def _search_results(self, query: str) -> Iterator[dict[str, Any]]:
        found = self._download_json(f"{_SERVER}/search?q={urllib.parse.quote(query)}", query)
        if isinstance(found, dict):
            raise ExtractorError(found["error"], expected=found.get("expected", True))
        for entry in found:
            yield {
                "_type": "url",
                "ie_key": "Youtube",
                "url": f"https://www.youtube.com/watch?v={entry['id']}",
                **entry,
            }


class StemyardSiteIE(InfoExtractor):
    """Another site with recordings on the same server."""

    IE_NAME = "stemyard:site"
    _VALID_URL = r"https?://site\.invalid/(?P<id>[\w-]{11})"

    def _real_extract(self, url: str) -> dict[str, Any]:
        song = self._match_id(url)
        info = self._download_json(f"{_SERVER}/video/{song}", song)
        for each in info.get("formats", ()):
            each["url"] = urllib.parse.urljoin(_SERVER, each["url"])
        return {"id": song, "webpage_url": url, **info}


class StemyardSetIE(InfoExtractor):
    """A list of that site's recordings, whose entries are found one by one."""

    IE_NAME = "stemyard:set"
    _VALID_URL = r"https?://site\.invalid/sets/(?P<ids>[\w,-]+)"

    def _real_extract(self, url: str) -> dict[str, Any]:
        songs = self._match_valid_url(url)["ids"].split(",")
        result: dict[str, Any] = self.playlist_result(self._entries(songs), "set", "A set")
        return result

    def _entries(self, songs: list[str]) -> Iterator[dict[str, Any]]:
        for song in songs:
            self._download_json(f"{_SERVER}/video/{song}", song)
            yield self.url_result(f"https://site.invalid/{song}", StemyardSiteIE)


# a plugin's extractors are called `youtube+stemyard`; the allow-list asks for the plain names
StemyardYoutubeIE.IE_NAME = "youtube"
StemyardYoutubeSearchIE.IE_NAME = "youtube:search"
