#!lua flags=allow-oom
-- result.lua: push a task's result to a list that its producer reads (BLPOP).
--
-- KEYS  1 the list
-- ARGV  1 the result   2 most results kept   3 seconds after which the list goes if nobody reads
-- Returns the list's length.
-- Cost  O(1), and O(what is dropped).
local length = redis.call('RPUSH', KEYS[1], ARGV[1])
if length > tonumber(ARGV[2]) then redis.call('LTRIM', KEYS[1], -ARGV[2], -1) end
redis.call('EXPIRE', KEYS[1], ARGV[3])
return length
