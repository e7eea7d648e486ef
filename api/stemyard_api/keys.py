"""Deprecated spelling of `stemyard-api keys`; removed in the next release."""

import sys

from stemyard_api.__main__ import main

if __name__ == "__main__":
    sys.stderr.write("`python -m stemyard_api.keys` is deprecated: use `stemyard-api keys`.\n")
    raise SystemExit(main(["keys", *sys.argv[1:]]))
