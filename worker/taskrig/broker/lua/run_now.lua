#!lua flags=allow-oom
-- run_now.lua: let one task that waits be the next: a delayed one before the queue, one of a list at its front.
--
-- KEYS  1 the LIST that it stands in, or delayed ZSET   2 redeliver LIST
-- ARGV  1 kind: list | zset   2 the item or entry as it stands there
--       3 of a zset: the entry that goes to redeliver
--       4 side to pop: right|left   5 deliveries of the entry   6 max deliveries
-- Returns 1, or 0 where it is not there any more.
-- Cost  O(log n) of a zset; O(n) of a list, twice.
--
-- It is copied before it is removed.
local call = redis.call
-- @include lib/entry.lua
if ARGV[1] == 'zset' then
  if not call('ZSCORE', KEYS[1], ARGV[2]) then return 0 end
  put_to_redeliver(KEYS[2], ARGV[3], tonumber(ARGV[5]), tonumber(ARGV[6]))
  call('ZREM', KEYS[1], ARGV[2])
  return 1
end
local right = ARGV[4] == 'right'
if not call('LPOS', KEYS[1], ARGV[2], 'RANK', right and 1 or -1) then return 0 end
call(right and 'RPUSH' or 'LPUSH', KEYS[1], ARGV[2])
call('LREM', KEYS[1], right and 1 or -1, ARGV[2])
return 1
