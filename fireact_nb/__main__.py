"""`python -m fireact_nb`: the same as the command `fireact-nb`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
