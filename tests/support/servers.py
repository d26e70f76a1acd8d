"""Real servers that a test owns. The class is loadgen's own: `loadgen chaos` needs it too."""

from taskrig_loadgen.chaos.own_server import (
    RedisServer,
    find_server_binary,
    free_port,
    server_binary,
    wait_for_ping,
)

__all__ = ["RedisServer", "find_server_binary", "free_port", "server_binary", "wait_for_ping"]
