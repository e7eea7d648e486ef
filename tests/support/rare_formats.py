"""Files in formats that FFmpeg decodes and cannot write: DSD, Shorten, GSM."""

import struct

import numpy as np

from tests.support.audio import Audio

DSD_RATE = 2_822_400
_DSF_BLOCK = 4096


def dsf(audio: Audio) -> bytes:
    """Return a DSF file of audio at `DSD_RATE`."""
    planes = [_one_bit(channel, "little") for channel in audio]
    size = -(-len(planes[0]) // _DSF_BLOCK) * _DSF_BLOCK
    padded = [plane.ljust(size, b"\x69") for plane in planes]
    data = b"".join(plane[at : at + _DSF_BLOCK] for at in range(0, size, _DSF_BLOCK) for plane in padded)
    form = struct.pack("<IIIIIIQII", 1, 0, 2, len(planes), DSD_RATE, 1, audio.shape[1], _DSF_BLOCK, 0)
    chunks = b"fmt " + struct.pack("<Q", 12 + len(form)) + form + b"data" + struct.pack("<Q", 12 + len(data)) + data
    return b"DSD " + struct.pack("<QQQ", 28, 28 + len(chunks), 0) + chunks


def dff(audio: Audio) -> bytes:
    """Return a DSDIFF file of stereo audio at `DSD_RATE`."""
    data = np.stack([np.frombuffer(_one_bit(channel, "big"), np.uint8) for channel in audio], axis=1).tobytes()
    properties = b"SND " + b"".join(
        (
            _chunk(b"FS  ", struct.pack(">I", DSD_RATE)),
            _chunk(b"CHNL", struct.pack(">H", 2) + b"SLFTSRGT"),
            _chunk(b"CMPR", b"DSD \x0enot compressed\0"),
        )
    )
    body = (
        b"DSD " + _chunk(b"FVER", struct.pack(">I", 0x01050000)) + _chunk(b"PROP", properties) + _chunk(b"DSD ", data)
    )
    return b"FRM8" + struct.pack(">Q", len(body)) + body


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack(">Q", len(content)) + content + b"\0" * (len(content) % 2)


def _one_bit(samples: Audio, order: str) -> bytes:
    """Modulate a channel by a first-order delta-sigma modulator."""
    bits, error = np.empty(len(samples), np.uint8), 0.0
    for index, sample in enumerate(samples.tolist()):
        error += sample
        bits[index] = error >= 0
        error -= 1.0 if error >= 0 else -1.0
    return np.packbits(bits, bitorder=order).tobytes()  # type: ignore[call-overload, no-any-return]


def gsm(frames: int) -> bytes:
    """Return frames of full-rate GSM without sound, 20 ms each."""
    return (b"\xd0" + bytes(32)) * frames


class _Bits:
    """Writes the variable-length numbers of Shorten."""

    def __init__(self) -> None:
        self.text: list[str] = []

    def unsigned(self, value: int, size: int) -> None:
        self.text.append("0" * (value >> size) + "1")
        if size:
            self.text.append(format(value & ((1 << size) - 1), f"0{size}b"))

    def signed(self, value: int, size: int) -> None:
        self.unsigned(value << 1 if value >= 0 else ~value << 1 | 1, size + 1)

    def long(self, value: int) -> None:
        size = value.bit_length()
        self.unsigned(size, 2)
        self.unsigned(value, size)

    def bytes(self) -> bytes:
        text = "".join(self.text)
        text = text.ljust(-(-len(text) // 32) * 32, "0")
        return int(text, 2).to_bytes(len(text) // 8)


_COMMAND, _DIFF_0, _QUIT, _BLOCK_SIZE, _VERBATIM = 2, 0, 4, 5, 9
_ENERGY, _VERBATIM_SIZE, _VERBATIM_BYTE = 3, 5, 8


def shorten(wav: bytes, block: int = 256) -> bytes:
    """Return a 16-bit stereo WAV file compressed by Shorten 2, without any prediction."""
    bits = _Bits()
    for value in (
        5,
        2,
        block,
        0,
        0,
        0,
    ):  # 16-bit little endian, channels, block size; no predictor, means, skipped bytes
        bits.long(value)
    bits.unsigned(_VERBATIM, _COMMAND)
    bits.unsigned(44, _VERBATIM_SIZE)
    for byte in wav[:44]:
        bits.unsigned(byte, _VERBATIM_BYTE)
    samples = np.frombuffer(wav[44:], "<i2").reshape(-1, 2)
    for start in range(0, len(samples) // block * block, block):
        for channel in samples[start : start + block].T:
            bits.unsigned(_DIFF_0, _COMMAND)
            bits.unsigned(11, _ENERGY)
            for sample in channel.tolist():
                bits.signed(sample, 11)
    bits.unsigned(_QUIT, _COMMAND)
    return b"ajkg\x02" + bits.bytes()
