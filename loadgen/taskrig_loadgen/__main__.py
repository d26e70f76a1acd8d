"""`python -m taskrig_loadgen` is `loadgen`."""

import sys

from taskrig_loadgen.cli import main

sys.exit(main())
