"""Says what a file without decodable audio is, from its first bytes. Pure."""

import re
from typing import Final

HEAD_BYTES: Final = 512
IMAGE: Final = "It is an image. Send an audio or video file."
_WEB_PAGE: Final = re.compile(rb"<(!doctype html|html|head|body|meta|script)\b", re.IGNORECASE)
_PLAYLIST: Final = re.compile(rb"#EXTM3U|\[playlist\]|<asx|<playlist|<smil|ffconcat", re.IGNORECASE)
_TEXT: Final = re.compile(rb"[\t\n\r\x20-\x7e\x80-\xff]+")
_IMAGES: Final = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"8BPS", b"<svg", b"\xff\x0a")
_IMAGE_BRANDS: Final = (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"avif", b"avis")
_ARCHIVES: Final = (
    b"PK\3\4",
    b"PK\5\6",
    b"Rar!",
    b"7z\xbc\xaf\x27\x1c",
    b"\x1f\x8b",
    b"BZh",
    b"\xfd7zXZ",
    b"(\xb5/\xfd",
)
_MP4_BOXES: Final = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")


def explain(head: bytes) -> str:
    """Return a sentence that says what the file seems to be, and what to send instead.

    Args:
        head: the first `HEAD_BYTES` of the file.
    """
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not head:
        return "The file is empty. Send it again."
    if _WEB_PAGE.match(text) or (text.startswith(b"<?xml") and b"<html" in text):
        return "It is a web page. Give the address of the audio file itself."
    if _is_image(head, text):
        return IMAGE
    if head.startswith(_ARCHIVES) or head[257:262] == b"ustar":
        return "It is an archive. Send the files in it one by one."
    if head.startswith(b"%PDF"):
        return "It is a PDF document. Send an audio or video file."
    if head.startswith(b"MThd"):
        return "It is a MIDI file, which contains notes and no sound. Send a recording."
    if _PLAYLIST.search(text[:64]):
        return "It is a playlist. Give the address of one of its files."
    if head[4:8] in _MP4_BOXES:
        return "It is an incomplete mp4 file without an index (moov). Copy or download it again."
    if _TEXT.fullmatch(head):
        return "It is a text file. Send an audio or video file."
    return "The file's format is not a known audio or video format."


def _is_image(head: bytes, text: bytes) -> bool:
    is_webp = head.startswith(b"RIFF") and head[8:12] == b"WEBP"
    is_heif = head[4:8] == b"ftyp" and head[8:12] in _IMAGE_BRANDS
    return text.startswith(_IMAGES) or is_webp or is_heif
