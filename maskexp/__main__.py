"""Run the command line as ``python -m maskexp``."""

import sys

from maskexp.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
