"""`python -m raindrop`: the same as the command `raindrop`."""

import sys

from raindrop.cli import main

if __name__ == "__main__":
    sys.exit(main())
