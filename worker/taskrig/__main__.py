"""`python -m taskrig` is the same as `worker`."""

import sys

from taskrig.cli import main

sys.exit(main())
