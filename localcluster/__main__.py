"""Runs the command line: `python3 -m localcluster`."""

import sys

# before anything is imported that an older Python cannot read
if sys.version_info < (3, 11):  # noqa: UP036 - the Python of the system may be older than the project's
    version = ".".join(map(str, sys.version_info[:2]))
    sys.exit(
        f"localcluster: this is Python {version}, and 3.11 or newer is needed; `make setup` brings one, so use "
        "`.venv/bin/python -m localcluster`"
    )

from localcluster.cli import main

sys.exit(main())
