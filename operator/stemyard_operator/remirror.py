"""The previous spelling of `stemyard-operator remirror`, kept for one release."""

import sys

from stemyard_operator.maintenance.remirror import main

if __name__ == "__main__":
    sys.exit(main())
