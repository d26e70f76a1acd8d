"""What `make up`, `down`, `ps`, `logs`, `load` and `demo` do: Redis and workers on this machine.

With a Docker engine that answers, Compose; without one, a server and workers in the background,
their state in `.run/`. Standard library only, apart from the embedded server.
"""
