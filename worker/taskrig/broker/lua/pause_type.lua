#!lua flags=allow-oom
-- pause_type.lua: start no task of one type from now on. A script, so that a full server can be
-- asked too.
--
-- KEYS  1 paused types HASH
-- ARGV  1 name of the type   2 why, a short text
-- Returns 1, or 0 when it was paused already (when and why stay as they were).
-- Cost  O(1).
local time = redis.call('TIME')
return redis.call('HSETNX', KEYS[1], ARGV[1], time[1] .. ' ' .. ARGV[2])
