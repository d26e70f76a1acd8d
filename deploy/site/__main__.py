"""python -m deploy.site FOLDER: lay out the sources of the site there, for mkdocs."""

from __future__ import annotations

import sys
from pathlib import Path

from deploy.site.layout import lay_out

if __name__ == "__main__":
    lay_out(Path(sys.argv[1]))
