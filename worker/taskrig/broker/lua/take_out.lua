#!lua flags=allow-oom
-- take_out.lua: claim one task that waits, wherever it stands, to settle it without a run.
--
-- KEYS  1 where it stands: LIST or ZSET   2 inflight HASH   3 meta HASH   4 workers ZSET
--       5 marks HASH, and for unique types HASH <prefix>unique:<name>   6 stats HASH
-- ARGV  1 id of the claimer   2 its lease, ms   3 tag   4 kind: list | zset
--       5 the item or entry as it stands there   6 "1": it is an entry
-- Returns 1, or 0 where it is not there any more.
-- Cost  O(log n) of a zset; O(n) of a list, twice.
--
-- It is copied before it is removed. The claimer has a lease: should it die now, the task is reclaimed.
local call = redis.call
-- @include lib/entry.lua
-- @include lib/mark.lua
-- @include lib/now.lua
local place, inflight, meta, marks, stats = KEYS[1], KEYS[2], KEYS[3], KEYS[5], KEYS[6]
local tag, zset, found = ARGV[3], ARGV[4] == 'zset', ARGV[5]
local there
if zset then there = call('ZSCORE', place, found) else there = call('LPOS', place, found) end
if not there then return 0 end
call('ZADD', KEYS[4], string.format('%.0f', now + tonumber(ARGV[2])), ARGV[1])
local raw, old = found, nil
if ARGV[6] == '1' then
  local its_tag, deliveries, attempts, since, item_at = parse_entry(found)
  raw, old = string.sub(found, item_at), its_tag
  if deliveries > 0 or attempts > 0 or since ~= '' then
    call('HSET', meta, tag, deliveries .. ':' .. attempts .. (since ~= '' and ':' .. since or ''))
  end
  call('HINCRBY', stats, 'recounted', 1)
end
call('HINCRBY', stats, 'claimed', 1)
call('HSET', inflight, tag, raw)
local mark = old and call('HGET', marks, old)
if mark then
  local ids, _, task = split_mark(string.sub(marks, 1, -6), mark)
  call('HSET', marks, tag, mark)
  redis.pcall('HSET', ids, task, tag)
  call('HDEL', marks, old)
end
if zset then call('ZREM', place, found) else call('LREM', place, 1, found) end
return 1
