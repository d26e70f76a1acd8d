"""`python -m worker` is the same as `worker`."""

import sys

from worker.cli import main

sys.exit(main())
