"""Containers with several tracks, labels, late starts and holes, written packet by packet."""

import io
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.stream import Disposition
from av.video.stream import VideoStream

from tests.support.audio import RATE, Audio

_FRAME = 1024
_NONE = Disposition(0)
_PICTURES_PER_SECOND = 25


@dataclass(frozen=True)
class Track:
    """One audio track: the audio is silent before `start` and has no packets within `hole`, in seconds."""

    audio: Audio
    label: str = ""
    disposition: Disposition = _NONE
    start: float = 0.0
    hole: tuple[float, float] = (0.0, 0.0)


def film(
    container: str, codec: str, tracks: list[Track], *, pictures: float = 0.0, first_picture: float = 0.0, **tags: str
) -> bytes:
    """Return a file with these audio tracks and, if asked, `pictures` seconds of video before them."""
    content = io.BytesIO()
    with av.open(content, "w", format=container) as file:
        file.metadata.update(tags)
        video = _video_stream(file) if pictures else None
        streams = [_audio_stream(file, codec, track) for track in tracks]
        packets: list[av.Packet[Any]] = [] if video is None else _pictures(video, pictures, first_picture)
        for stream, track in zip(streams, tracks, strict=True):
            packets += _sound(stream, track)
        for packet in sorted(packets, key=lambda each: float((each.dts or 0) * each.time_base)):
            file.mux(packet)
    return content.getvalue()


def _video_stream(file: av.container.OutputContainer) -> VideoStream:
    stream = file.add_stream("mpeg4", rate=_PICTURES_PER_SECOND)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    return stream


def _audio_stream(file: av.container.OutputContainer, codec: str, track: Track) -> AudioStream:
    stream = cast(AudioStream, file.add_stream(codec, rate=RATE))
    stream.layout = "stereo"
    stream.time_base = Fraction(1, RATE)
    stream.disposition = track.disposition
    if track.label:
        stream.metadata["title"] = stream.metadata["handler_name"] = track.label
    return stream


def _pictures(stream: VideoStream, seconds: float, first: float) -> "list[av.Packet[Any]]":
    packets: list[av.Packet[Any]] = []
    for index in range(round(seconds * _PICTURES_PER_SECOND)):
        picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), index % 250, np.uint8), format="rgb24")
        picture.pts, picture.time_base = index + round(first * _PICTURES_PER_SECOND), Fraction(1, _PICTURES_PER_SECOND)
        packets += stream.encode(picture)
    return packets + stream.encode(None)


def _sound(stream: AudioStream, track: Track) -> "list[av.Packet[Any]]":
    packets: list[av.Packet[Any]] = []
    for start in range(0, track.audio.shape[1], _FRAME):
        if track.hole[0] <= start / RATE < track.hole[1]:
            continue
        block = np.ascontiguousarray(track.audio[:, start : start + _FRAME], np.float32)
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="stereo")
        frame.sample_rate, frame.time_base = RATE, Fraction(1, RATE)
        frame.pts = start + round(track.start * RATE)
        packets += stream.encode(frame)
    return packets + stream.encode(None)
