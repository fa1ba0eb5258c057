"""Whether the long forms run: `make trust` sets the variable."""

import os

TRUST = os.environ.get("FIREACT_TRUST") == "1"
