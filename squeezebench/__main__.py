"""`python -m squeezebench`."""

import sys

from .cli import main

sys.exit(main())
