"""PUTs a file to an upload link in several ways with requests. Arguments: way=link; prints a line "way status" each."""

import sys

import requests

FILE = b"ID3 12345"


def put(way: str, link: str) -> int:
    """Return the status of one PUT."""
    headers = {"Content-Type": "audio/mpeg", "Content-Disposition": "attachment", "If-None-Match": "*"}
    if way == "charset":
        headers["Content-Type"] = "audio/mpeg; charset=utf-8"
    if way == "length":
        headers["Content-Length"] = str(len(FILE))
    # a generator has no length: it goes in chunks; an open file has one
    data = iter([FILE]) if way == "stream" else FILE
    return requests.put(link, data=data, headers=headers, timeout=30).status_code


for argument in sys.argv[1:]:
    name, _, url = argument.partition("=")
    sys.stdout.write(f"{name} {put(name, url)}\n")
