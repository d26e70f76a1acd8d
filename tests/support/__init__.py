"""What the tests speak with: a real Redis, waiting, a world of workers and producers."""
