"""The previous spelling of `stemyard-operator bucket-rules`, kept for one release."""

import sys

from stemyard_operator.maintenance.bucket_rules import main

if __name__ == "__main__":
    sys.exit(main())
