"""The previous spelling of `stemyard-operator bucket-rules`, kept for one release."""

import sys

from stemyard_operator.__main__ import deprecated

if __name__ == "__main__":
    sys.exit(deprecated("bucket_rules"))
