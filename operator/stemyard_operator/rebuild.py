"""The previous spelling of `stemyard-operator rebuild`, kept for one release."""

import sys

from stemyard_operator.maintenance.rebuild import main

if __name__ == "__main__":
    sys.exit(main())
