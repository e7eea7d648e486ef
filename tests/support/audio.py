"""Audio for tests: decoding with FFmpeg, comparison, and writers of many file formats."""

import struct
import wave
import zlib
from pathlib import Path
from typing import cast

import av
import numpy as np
import numpy.typing as npt
from av.audio.stream import AudioStream

Audio = npt.NDArray[np.float64]
"""(channels, samples), full scale 1.0."""
RATE = 44_100
GOLDEN = Path(__file__).parents[1] / "golden" / "audio"
CLIP = GOLDEN / "clip.mp3"
"""10.9 s of a real song."""


def read(path: Path) -> Audio:
    """Return the first audio stream of a file as FFmpeg decodes it."""
    with av.open(str(path)) as file:
        resampler = av.AudioResampler(format="fltp", layout=file.streams.audio[0].layout)
        blocks = [part.to_ndarray() for frame in file.decode(audio=0) for part in resampler.resample(frame)]
        blocks += [part.to_ndarray() for part in resampler.resample(None)]
    return np.concatenate(blocks, axis=1).astype(np.float64)


def golden_stems() -> tuple[Audio, Audio]:
    """Return the golden vocals and instrumental."""
    return read(GOLDEN / "vocals.flac"), read(GOLDEN / "instrumental.flac")


def si_sdr(reference: Audio, estimate: Audio) -> float:
    """Return the scale-invariant signal-to-distortion ratio in dB (Le Roux et al., 2019)."""
    target = reference * (np.sum(reference * estimate) / np.sum(reference**2))
    return float(10 * np.log10(np.sum(target**2) / np.sum((estimate - target) ** 2)))


def lag(reference: Audio, estimate: Audio) -> int:
    """Return the estimate's delay in samples, from the peak of the cross-correlation of the left channels."""
    size = 2 * max(reference.shape[1], estimate.shape[1])
    product = np.fft.rfft(reference[0], size).conj() * np.fft.rfft(estimate[0], size)
    best = int(np.argmax(np.fft.irfft(product)))
    return best - size if best > size // 2 else best


def tone(seconds: float, rate: int = RATE, channels: int = 2, level: float = 0.4) -> Audio:
    """Return chords that differ between channels."""
    time = np.arange(round(seconds * rate)) / rate
    notes = [np.sin(2 * np.pi * (220.0 * (index + 2) / 2) * time) for index in range(channels)]
    return level * np.array(notes)


def write_wav(path: Path, audio: Audio, rate: int = RATE) -> Path:
    """Write 16-bit PCM."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(audio.shape[0])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.round(audio.T * 32767).astype("<i2").tobytes())
    return path


def write_float_wav(path: Path, audio: Audio, rate: int = RATE) -> Path:
    """Write 32-bit float samples, which may exceed full scale or be NaN."""
    data = audio.T.astype("<f4").tobytes()
    channels = audio.shape[0]
    form = struct.pack("<HHIIHH", 3, channels, rate, rate * channels * 4, channels * 4, 32)
    chunks = b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)
    return path


def write_encoded(path: Path, audio: Audio, codec: str, layout: str = "stereo", rate: int = RATE) -> Path:
    """Encode to the container of the path's suffix."""
    with av.open(str(path), "w") as file:
        stream = cast(AudioStream, file.add_stream(codec, rate=rate))
        stream.layout = layout
        file.mux(stream.encode(_frame(audio, layout, rate)))
        file.mux(stream.encode(None))
    return path


def write_video(path: Path, audio: Audio) -> Path:
    """Write a video file with AAC audio in its second stream."""
    with av.open(str(path), "w") as file:
        video = file.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = file.add_stream("aac", rate=RATE)
        sound.layout = "stereo"
        for index in range(25):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), index * 10, np.uint8), format="rgb24")
            file.mux(video.encode(picture))
        file.mux(sound.encode(_frame(audio, "stereo", RATE)))
        file.mux(video.encode(None))
        file.mux(sound.encode(None))
    return path


def with_cover_art(mp3: bytes) -> bytes:
    """Return an mp3 with cover art in an ID3 tag."""
    picture = b"\x00image/png\x00\x03\x00" + _png(64)
    frame = b"APIC" + len(picture).to_bytes(4, "big") + b"\x00\x00" + picture
    size = bytes((len(frame) >> shift) & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\x00\x00" + size + frame + mp3


def _png(size: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\x00" + bytes((200, row * 3 % 256, 80)) * size for row in range(size))
    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


COVER = _png(64)
"""A small PNG."""


def _frame(audio: Audio, layout: str, rate: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(audio, np.float32), format="fltp", layout=layout)
    frame.sample_rate = rate
    return frame
