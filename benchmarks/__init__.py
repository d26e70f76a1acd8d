"""How fast the worker is, measured against a bare probe in the same run. `make bench` runs it."""
