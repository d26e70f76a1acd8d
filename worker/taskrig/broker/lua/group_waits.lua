#!lua flags=no-writes,allow-oom
-- group_waits.lua: whether a group was begun by its producer and by no worker yet. Writes nothing.
--
-- KEYS  1 group STRING   2 group_state HASH
-- Returns 1 or 0.
-- Cost  O(1).
return redis.call('EXISTS', KEYS[1]) == 1 and redis.call('EXISTS', KEYS[2]) == 0 and 1 or 0
