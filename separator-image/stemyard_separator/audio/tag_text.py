"""Decodes tags whose bytes are in an encoding that nothing declares. Pure.

FFmpeg passes on the bytes of ID3v1, RIFF INFO and broken Vorbis comments as they are. Detectors made for documents
fail on a few words: of 59 short titles charset-normalizer 3.5 decodes 35 correctly and chardet 7.7 decodes
50. An encoding's cost is the sum of its characters' costs: the unlikelier a character, the higher.
"""

import codecs
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from math import inf
from types import MappingProxyType
from typing import Final

_RARE: Final = 14.0
"""Cost of a character that few tags contain."""
_WESTERN: Final = frozenset("àáâãäåæçèéêëìíîïñòóôõöøùúûüýßœšžÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜŒŠŽ‘’“”–—…«»¿¡°·´")
_RUSSIAN: Final = frozenset(map(chr, range(0x410, 0x450)))
_CYRILLIC: Final = _RUSSIAN | frozenset("ЁёЄєІіЇї")
_QUOTES: Final = frozenset("«»“”„–—…№’")
_MISDECLARED_RATIO: Final = 1.5
"""How much likelier than Latin-1 another encoding must be for text that was declared to be Latin-1."""
_LONGEST: Final = 512
"""Characters of a name or a value that are kept: a tag may have 256 MiB, which would be judged one by one."""
_MOST_JUDGED: Final = 128
"""Texts that an encoding is guessed from: a file may have a million."""
_SHORTEST_CUT: Final = 28
"""Bytes of the shortest field of ID3v1 that cuts off a title, in the middle of a character too."""


def _western(text: str, index: int, encoded: bytes) -> float:
    before = text[index - 1 : index]
    if text[index] not in _WESTERN:
        return _RARE
    return 10.0 if before in _WESTERN or (text[index].isupper() and before.islower()) else 6.0


def _cyrillic(text: str, index: int, encoded: bytes) -> float:
    before = text[index - 1 : index]
    if text[index] not in _CYRILLIC:
        return 8.0 if text[index] in _QUOTES else _RARE
    if _touches_latin(text, index):
        return _RARE
    is_alone = _CYRILLIC.isdisjoint(before + text[index + 1 : index + 2])
    if is_alone or text[index] not in _RUSSIAN:
        return 7.0
    return 4.5 if text[index].islower() else 12.0 if before.islower() else 5.0


def _japanese(text: str, index: int, encoded: bytes) -> float:
    if len(encoded) == 1:  # half-width katakana have the bytes of Western letters
        return _RARE if _touches_latin(text, index) else 7.0
    if encoded[0] < 0x84:
        return 7.0
    return 10.0 if encoded[0] < 0x98 else 16.0


def _touches_latin(text: str, index: int) -> bool:
    return any(each.isascii() and each.isalpha() for each in text[max(0, index - 1) : index + 2])


def _chinese(text: str, index: int, encoded: bytes) -> float:
    if len(encoded) == 1 or encoded[1] < 0xA1:
        return 20.0
    return 12.0 if encoded[0] < 0xB0 else 11.0 if encoded[0] < 0xD8 else 17.0


_COSTS: Final[Mapping[str, Callable[[str, int, bytes], float]]] = MappingProxyType(
    {"cp1252": _western, "cp1251": _cyrillic, "cp932": _japanese, "gbk": _chinese}
)
"""Cost of a character that is not ASCII, from the text, its index and its bytes; ideographs of level 1 are common."""


def decode_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags that are valid Unicode, cut to `_LONGEST`; the undeclared encoding is guessed from all of them.

    Args:
        tags: text in which every byte that is not UTF-8 is a lone surrogate (PEP 383).
    """
    short = {name[:_LONGEST]: value[:_LONGEST] for name, value in tags.items()}
    undeclared = (_bytes_of(text) for pair in short.items() for text in pair if not _is_unicode(text))
    unknown = list(islice(undeclared, _MOST_JUDGED))
    latin = list(islice(filter(None, map(_latin_1, short.values())), _MOST_JUDGED))
    encoding = _likeliest(unknown) if unknown else _actual_encoding(latin)
    return {_decode(name, encoding): _decode(value, encoding) for name, value in short.items()}


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _bytes_of(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _latin_1(text: str) -> bytes:
    """Return the bytes of text that may be misdeclared as Latin-1: FFmpeg converts such text to UTF-8."""
    is_candidate = not text.isascii() and all(character <= "\xff" for character in text)
    return text.encode("latin-1") if is_candidate else b""


def _actual_encoding(contents: Sequence[bytes]) -> str:
    """Return the encoding of text that was declared to be Latin-1."""
    encoding = _likeliest(contents)
    is_certain = _cost(contents, encoding) * _MISDECLARED_RATIO <= _cost(contents, "cp1252")
    return encoding if is_certain else "cp1252"


def _likeliest(contents: Sequence[bytes]) -> str:
    return min(_COSTS, key=lambda encoding: _cost(contents, encoding))


def _cost(contents: Iterable[bytes], encoding: str) -> float:
    return sum(_cost_of_one(content, encoding) for content in contents)


def _cost_of_one(content: bytes, encoding: str) -> float:
    text, is_cut = _decode_prefix(content, encoding)
    if text is None:
        return inf
    costs = (
        _COSTS[encoding](text, index, character.encode(encoding, "replace"))
        for index, character in enumerate(text)
        if not character.isascii()
    )
    return sum(costs, _RARE if is_cut else 0.0)


def _decode_prefix(content: bytes, encoding: str) -> tuple[str | None, bool]:
    """Return the text, None if it is not of this encoding, and whether its last character is cut off, as in ID3v1."""
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    try:
        return decoder.decode(content), bool(decoder.getstate()[0])
    except UnicodeDecodeError:
        return None, False


def _decode(text: str, encoding: str) -> str:
    if _is_unicode(text):
        content = _latin_1(text)
        return (_decode_prefix(content, encoding)[0] or text) if content else text
    content = _bytes_of(text)
    if len(content) >= _SHORTEST_CUT and (decoded := _decode_prefix(content, "utf-8")[0]) is not None:
        return decoded
    return _decode_prefix(content, encoding)[0] or content.decode("latin-1")
