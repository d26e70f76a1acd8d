"""What a worker does every interval, whether tasks come or not: one duty a module."""
