"""Draws horizontal bars as SVG, readable on light and dark pages alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

_WIDTH: Final = 480
_LABELS: Final = 212
"""Width of the column of labels, in pixels as all lengths here."""
_VALUES: Final = 56
"""Width that is kept for the value behind the longest bar."""
_ROW: Final = 26
_BAR: Final = 16
_TOP: Final = 34
_STYLE: Final = (
    "text{font:13px system-ui,sans-serif;fill:#24292f}.title{font-weight:600}.own{fill:#3f51b5}.other{fill:#9aa0b4}"
    "@media (prefers-color-scheme:dark){text{fill:#e2e4e9}.own{fill:#8c9eff}.other{fill:#5f6478}}"
)


@dataclass(frozen=True)
class Bar:
    """One bar: a value with its name, of Stemyard or of what it is compared with."""

    label: str
    value: float
    own: bool = True


def short(value: float) -> str:
    """Return a value with three significant digits, and without an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def bars(title: str, unit: str, rows: Sequence[Bar]) -> str:
    """Return a drawing of bars that begin at zero, as an SVG document."""
    height = _TOP + _ROW * len(rows) + 6
    scale = (_WIDTH - _LABELS - _VALUES) / max(row.value for row in rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}">',
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n",
        f'<text class="title" x="0" y="16">{escape(f"{title}, {unit}")}</text>\n',
    ]
    for number, row in enumerate(rows):
        y, width = _TOP + number * _ROW, max(1.0, row.value * scale)
        parts.append(
            f'<text x="{_LABELS - 10}" y="{y + 13}" text-anchor="end">{escape(row.label)}</text>'
            f'<rect class="{"own" if row.own else "other"}" x="{_LABELS}" y="{y}" width="{width:.1f}" height="{_BAR}"/>'
            f'<text x="{_LABELS + width + 8:.1f}" y="{y + 13}">{short(row.value)}</text>\n'
        )
    return "".join([*parts, "</svg>\n"])
