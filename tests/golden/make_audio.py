"""Synthesises the golden stems with Debian's fluidsynth, fluid-soundfont-gm and espeak-ng: a small band and a voice.

Run `python -m tests.golden.make_audio`. The result is committed, so tests need none of the three packages.
"""

import io
import subprocess
import tempfile
import wave
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import soxr

RATE = 44_100
SECONDS = 11
FOLDER = Path(__file__).parent / "audio"
SOUND_FONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
TICKS_PER_BEAT = 480
MICROSECONDS_PER_BEAT = 545_000
BEATS = 20
PEAK = 0.45

PROGRAMS = {0: 0, 1: 33, 2: 25, 3: 48}
"""Channel to General MIDI program: piano, fingered bass, steel guitar, strings; channel 9 is drums."""
CHORDS = ((57, 60, 64), (53, 57, 60), (48, 52, 55), (55, 59, 62), (57, 60, 64))
LINES = (
    (55, "Oh, every morning I walk down to the river"),
    (70, "and all the lights of the city are calling my name"),
    (45, "so carry me over the water, over the water"),
    (75, "and sing to me slowly until the day is done"),
)
Audio = npt.NDArray[np.float64]
Event = tuple[int, bytes]


def _note(channel: int, key: int, velocity: int, start: float, length: float) -> list[Event]:
    on, off = int(start * TICKS_PER_BEAT), int((start + length) * TICKS_PER_BEAT)
    return [(on, bytes((0x90 | channel, key, velocity))), (off, bytes((0x80 | channel, key, 0)))]


def _drums(beat: int) -> list[Event]:
    kick_or_snare = 38 if beat % 2 else 36
    hats = [event for half in (0.0, 0.5) for event in _note(9, 42, 70, beat + half, 0.2)]
    return [*_note(9, kick_or_snare, 105, beat, 0.3), *hats]


def _harmony(beat: int) -> list[Event]:
    chord = CHORDS[beat // 4 % len(CHORDS)]
    events = _note(1, chord[0] - 24, 100, beat, 0.9)
    for half in (0, 1):
        events += _note(2, chord[(beat + half) % 3] + 12, 80 - 5 * half, beat + half / 2, 0.45)
    if beat % 4 == 0:
        for key in chord:
            events += _note(0, key, 78, beat, 3.8) + _note(3, key + 12, 55, beat, 3.9)
    return events


def _variable_length(value: int) -> bytes:
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(0x80 | value & 0x7F)
    return bytes(reversed(groups))


def _midi() -> bytes:
    events: list[Event] = [(0, b"\xff\x51\x03" + MICROSECONDS_PER_BEAT.to_bytes(3, "big"))]
    events += [(0, bytes((0xC0 | channel, program))) for channel, program in PROGRAMS.items()]
    for beat in range(BEATS):
        events += _drums(beat) + _harmony(beat)
    track, now = b"", 0
    for tick, message in sorted(events, key=lambda event: event[0]):
        track, now = track + _variable_length(tick - now) + message, tick
    track += b"\x00\xff\x2f\x00"
    header = b"MThd" + (6).to_bytes(4, "big") + bytes((0, 0, 0, 1)) + TICKS_PER_BEAT.to_bytes(2, "big")
    return header + b"MTrk" + len(track).to_bytes(4, "big") + track


def _read_wave(content: bytes) -> Audio:
    with wave.open(io.BytesIO(content)) as file:
        raw = np.frombuffer(file.readframes(file.getnframes()), np.int16)
        audio = raw.reshape(-1, file.getnchannels()) / 32768
        return np.asarray(soxr.resample(audio, file.getframerate(), RATE), np.float64)


def _band() -> Audio:
    with tempfile.TemporaryDirectory() as folder:
        midi, wav = Path(folder, "band.mid"), Path(folder, "band.wav")
        midi.write_bytes(_midi())
        subprocess.run(["fluidsynth", "-ni", "-q", "-r", str(RATE), "-F", wav, SOUND_FONT, midi], check=True)
        return _read_wave(wav.read_bytes())


def _voice() -> Audio:
    lines = []
    for pitch, text in LINES:
        command = ["espeak-ng", "-v", "en-us", "-p", str(pitch), "-s", "165", "-a", "120", "--stdout", text]
        spoken = _read_wave(subprocess.run(command, check=True, capture_output=True).stdout)
        lines.append(np.vstack((spoken, np.zeros((RATE // 12, spoken.shape[1])))))
    return np.repeat(np.vstack(lines)[:, :1], 2, axis=1)


def _fit(audio: Audio) -> Audio:
    samples = RATE * SECONDS
    return np.pad(audio[:samples], ((0, max(0, samples - len(audio))), (0, 0)))


def _level(audio: Audio) -> float:
    return float(np.sqrt(np.mean(audio**2)))


def _write_flac(path: Path, audio: Audio) -> None:
    pcm = np.ascontiguousarray(np.round(audio * 32767).astype(np.int16).reshape(1, -1))
    with av.open(str(path), "w") as file:
        stream = file.add_stream("flac", rate=RATE, options={"compression_level": "8"})
        stream.layout = "stereo"
        frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="stereo")
        frame.sample_rate = RATE
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


def main() -> None:
    voice, band = _fit(_voice()), _fit(_band())
    voice *= _level(band) / _level(voice)
    scale = PEAK / max(np.abs(voice).max(), np.abs(band).max())
    FOLDER.mkdir(exist_ok=True)
    _write_flac(FOLDER / "vocals.flac", voice * scale)
    _write_flac(FOLDER / "instrumental.flac", band * scale)


if __name__ == "__main__":
    main()
