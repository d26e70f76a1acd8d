"""The worker as a process: what starts, supervises and ends it."""
