"""One run against a queue: sender, observer, and what ends them."""
