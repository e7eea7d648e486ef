"""What every part does with text and pydantic: word errors, accept comma-separated lists, clean titles. Pure."""

import re
from typing import Final

from pydantic import ValidationError

_JOINER_INSIDE_WORD: Final = re.compile(r"(?<=\S)[\u200c\u200d](?=\S)")
"""Zero-width joiners, which Persian and Indic words and compound emoji need."""


def error_lines(error: ValidationError) -> list[str]:
    """Return a line `field.path: message` for each error; none repeats the input."""
    return [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]


def variable_error_lines(error: ValidationError) -> list[str]:
    """Return a line `VARIABLE: message` for each error of settings read from environment variables."""
    lines = []
    for item in error.errors():
        variable, message = ".".join(map(str, item["loc"])).upper(), item["msg"].removeprefix("Value error, ")
        lines.append(f"{variable}: {message}" if variable else message)
    return lines


def split_commas(value: object) -> object:
    """Return the comma-separated items of a text, stripped and without empty ones; other values unchanged.

    For pydantic's `BeforeValidator` and `field_validator(mode="before")`.
    """
    return tuple(item.strip() for item in value.split(",") if item.strip()) if isinstance(value, str) else value


def printable(text: str) -> str:
    """Return the text with spaces for everything that is neither printable nor a joiner inside a word."""
    joiners = {found.start() for found in _JOINER_INSIDE_WORD.finditer(text)}
    return "".join(
        character if character.isprintable() or index in joiners else " " for index, character in enumerate(text)
    )
