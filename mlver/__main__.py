"""`python -m mlver` is `mlver`."""

from __future__ import annotations

import sys

from mlver.cli.main import main

sys.exit(main())
