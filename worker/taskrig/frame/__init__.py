"""What the command lines of `worker` and `loadgen` have in common."""
