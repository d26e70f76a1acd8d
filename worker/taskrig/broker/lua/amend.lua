#!lua flags=allow-oom
-- amend.lua: change the item of a task that runs, so that whoever runs it next knows what is done.
--
-- KEYS  1 inflight HASH
-- ARGV  1 tag   2 the item
-- Returns 1, or 0 where the tag is not in flight any more: the claim was lost.
-- Cost  O(1).
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
