"""`python -m darkroom`: the command, where its script is not on the path."""

import sys

from darkroom.command import main

if __name__ == "__main__":
    sys.exit(main())
