#!lua flags=allow-oom
-- leave.lua: a drained worker signs off; what it still holds is reclaimed at once by others.
--
-- KEYS  1 workers ZSET   2 about HASH   3 control HASH   4 alone STRING
-- ARGV  1 worker id
-- Returns 1 when the worker was known.
-- Cost  O(log workers).
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
if redis.call('GET', KEYS[4]) == ARGV[1] then redis.call('DEL', KEYS[4]) end
return redis.call('ZREM', KEYS[1], ARGV[1])
