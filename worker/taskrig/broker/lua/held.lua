#!lua flags=no-writes,allow-oom
-- held.lua: which of these tags are in flight. Writes nothing.
--
-- KEYS  1 inflight HASH
-- ARGV  tags
-- Returns a 1 or 0 for each.
-- Cost  O(tags); the caller bounds them.
local found = {}
for i, tag in ipairs(ARGV) do found[i] = redis.call('HEXISTS', KEYS[1], tag) end
return found
