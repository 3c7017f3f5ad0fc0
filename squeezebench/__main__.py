"""`python -m squeezebench`."""

import sys

from squeezebench.cli.main import main

sys.exit(main())
