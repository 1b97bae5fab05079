"""``python -m dsd_lib.cli``."""

import sys

from dsd_lib.cli import main

if __name__ == "__main__":
    sys.exit(main())
