"""The previous spelling of `stemyard-operator rebuild`, kept for one release."""

import sys

from stemyard_operator.__main__ import deprecated

if __name__ == "__main__":
    sys.exit(deprecated("rebuild"))
