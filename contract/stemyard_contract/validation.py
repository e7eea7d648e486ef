"""What every part does with pydantic: word its errors, and accept lists as comma-separated text. Pure."""

from pydantic import ValidationError


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
