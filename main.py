"""raindrop from its checkout; the same as the installed command `raindrop`."""

import sys

from raindrop.cli import main

if __name__ == "__main__":
    sys.exit(main())
