"""``python -m promptseg``: the command line."""

import sys

from promptseg.cli.main import main

sys.exit(main())
