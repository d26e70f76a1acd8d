#!lua flags=allow-oom
-- renew.lua: keep a worker's lease and its description. Also how a worker joins.
--
-- KEYS  1 workers ZSET   2 about HASH
-- ARGV  1 worker id      2 lease, ms    3 description, JSON ("" leaves it as it is)
-- Returns { gap, seconds, microseconds }: 1 when there was no live lease, and the server's TIME.
-- Cost  O(log workers).
-- @include lib/now.lua
local had = redis.call('ZSCORE', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[1], string.format('%.0f', now + tonumber(ARGV[2])), ARGV[1])
if ARGV[3] ~= '' then redis.call('HSET', KEYS[2], ARGV[1], ARGV[3]) end
return { (not had or tonumber(had) < now) and 1 or 0, tonumber(time[1]), tonumber(time[2]) }
