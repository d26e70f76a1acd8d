#!lua flags=allow-oom
-- forget.lua: after a full scan, drop the leases and descriptions of workers that had expired
-- before it began: nothing of theirs is in flight any more.
--
-- KEYS  1 workers ZSET   2 about HASH   3 control HASH
-- ARGV  1 ms of Redis TIME at which the scan began
-- Returns the ids.
-- Cost  O(n log workers), at most 100 a call.
local gone = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[1], 'LIMIT', 0, 100)
for _, id in ipairs(gone) do
  redis.call('HDEL', KEYS[2], id)
  redis.call('HDEL', KEYS[3], id)
  redis.call('ZREM', KEYS[1], id)
end
return gone
