"""Validation errors are worded without the input, and lists are accepted as comma-separated text."""

from typing import Annotated

import pytest
from pydantic import AfterValidator, BaseModel, BeforeValidator, ValidationError, model_validator

from stemyard_contract.validation import error_lines, printable, split_commas, variable_error_lines


def _positive(port: int) -> int:
    if port < 1:
        raise ValueError("must be positive")
    return port


class Example(BaseModel):
    ports: Annotated[tuple[Annotated[int, AfterValidator(_positive)], ...], BeforeValidator(split_commas)] = ()

    @model_validator(mode="after")
    def _few(self) -> "Example":
        if len(self.ports) > 2:
            raise ValueError("too many ports")
        return self


def error_of(ports: str) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        Example.model_validate({"ports": ports})
    return caught.value


def test_each_error_is_a_line_with_its_field() -> None:
    lines = error_lines(error_of("7171,x-7272,-1"))
    assert lines[0].startswith("ports.1: Input should be a valid integer")
    assert lines[1:] == ["ports.2: Value error, must be positive"]
    assert "7272" not in "".join(lines)


def test_settings_are_named_as_variables() -> None:
    assert variable_error_lines(error_of("1,-1")) == ["PORTS.1: must be positive"]
    assert variable_error_lines(error_of("1,2,3")) == ["too many ports"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [("a, b,", ("a", "b")), ("", ()), (" ,", ()), (["a,b"], ["a,b"]), (None, None)],
)
def test_text_is_split_at_commas(given: object, expected: object) -> None:
    assert split_commas(given) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("a\x00b\u2028c", "a b c"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("👨\u200d👩\u200d👧 song", "👨\u200d👩\u200d👧 song"),
        ("\u200dsong \u200c x\u200d", " song   x "),
        ("\u202esong\ufeff", " song "),
        ("\udcff", " "),
    ],
)
def test_titles_keep_joiners_inside_words_only(given: str, expected: str) -> None:
    assert printable(given) == expected
