"""``python -m chatkit`` is the ``chatkit`` command."""

from __future__ import annotations

import sys

from chatkit.frontends.main import main

if __name__ == "__main__":
    sys.exit(main())
