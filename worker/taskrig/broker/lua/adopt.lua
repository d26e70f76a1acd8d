#!lua flags=allow-oom
-- adopt.lua: take over a group that a producer wrote, unless that was done.
--
-- KEYS  1 group STRING   2 group_state HASH   3 groups ZSET
-- ARGV  1 its name   2 ms for which it may last where its key has no expiry
--       3 its members   4 tasks in then   5 tasks in otherwise   6.. of each its list and its item
-- Returns 1 when it is adopted now, else 0.
-- Cost  O(tasks that follow).
local call = redis.call
-- @include lib/now.lua
local left = call('PTTL', KEYS[1])
local is = call('TYPE', KEYS[3]).ok
if left == -2 or call('EXISTS', KEYS[2]) == 1 or is ~= 'none' and is ~= 'zset' then return 0 end
if left < 0 then left = tonumber(ARGV[2]) end
local deadline = string.format('%.0f', now + left)
local at = 6
for _, one in ipairs({ { 'then', ARGV[4] }, { 'otherwise', ARGV[5] } }) do
  for i = 1, tonumber(one[2]) do
    call('HSET', KEYS[2], one[1] .. '_list:' .. i, ARGV[at], one[1] .. ':' .. i, ARGV[at + 1])
    at = at + 2
  end
end
call('HSET', KEYS[2], 'of', ARGV[3], 'state', 'open', 'deadline', deadline, 'succeeded', 0,
  'failed', 0, 'then', ARGV[4], 'otherwise', ARGV[5])
call('ZADD', KEYS[3], deadline, ARGV[1])
return 1
