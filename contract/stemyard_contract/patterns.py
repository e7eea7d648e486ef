"""Regular expressions that the CRD and the types share, valid in Go (RE2), Rust and Python alike."""

from typing import Final

_SPACE: Final = "\\s\\x00-\\x20\\x7f-\\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
"""White space and control characters. Written out: `\\s` is ASCII in Go, and all of Unicode in Rust and Python."""
_CONTROL: Final = "\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f"
"""C0 and C1 control characters but tab, line feed and carriage return."""
_PORT: Final = "[0-9]{0,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"  # up to 65535

HTTP_URL: Final = (
    "^https?://"
    f"([^{_SPACE}/?#@\\[\\]]*@)?"
    f"(\\[[0-9A-Fa-f:.]+\\]|[^{_SPACE}/?#@:\\[\\]]+)"
    f"(:({_PORT}))?"
    f"([/?#][^{_SPACE}]*)?$"
)
"""An absolute URL: user, host or IPv6 address in brackets, port, and the rest without white space."""
URL_MESSAGE: Final = (
    "give a whole URL without spaces, as https://example.com/song.mp3: http or https, a host, a port up to 65535 if any"
)
"""What is wrong with what is not such a URL."""
SEARCH_QUERY: Final = f"^[^{_CONTROL}]*[^{_SPACE}][^{_CONTROL}]*$"
"""Text without control characters that is more than white space."""
QUERY_MESSAGE: Final = "give some text without control characters"
"""What is wrong with what is no search query."""
