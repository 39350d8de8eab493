"""`python -m postoffice`: the same as the command `postoffice`."""

import sys

from .run import main

sys.exit(main())
