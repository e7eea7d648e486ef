"""Tables and texts of generated pages, in the Markdown that code hosts and the site read alike."""

from collections.abc import Iterable, Sequence


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; cells are Markdown in one line."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(cell(text) for text in line)} |\n" for line in lines)


def cell(text: str) -> str:
    """Return a text as the contents of a cell, where a bar would end it."""
    return " ".join(text.split()).replace("|", "\\|")


def paragraphs(text: str) -> str:
    """Return a docstring with its lines joined, so that a page breaks them where it likes."""
    return "\n\n".join(" ".join(part.split()) for part in text.strip().split("\n\n"))
