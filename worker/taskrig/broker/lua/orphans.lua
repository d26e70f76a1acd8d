#!lua flags=no-writes,allow-oom
-- orphans.lua: one slice of in flight, counted by worker where that worker has no live lease.
--
-- KEYS  1 inflight HASH   2 workers ZSET
-- ARGV  1 cursor          2 count for HSCAN
-- Returns { cursor, seen, bytes, { worker, how many }... }
-- Cost  O(count + bytes of the slice); the caller sizes the slices.
local call = redis.call
-- @include lib/now.lua
local slice = call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local found, dead, counts, order, bytes = slice[2], {}, {}, {}, 0
for i = 1, #found, 2 do
  bytes = bytes + #found[i + 1]
  local worker = string.match(found[i], '^[^:]*')
  if dead[worker] == nil then
    local deadline = call('ZSCORE', KEYS[2], worker)
    dead[worker] = not deadline or tonumber(deadline) < now
  end
  if dead[worker] then
    if not counts[worker] then order[#order + 1] = worker end
    counts[worker] = (counts[worker] or 0) + 1
  end
end
local rows = {}
for i, worker in ipairs(order) do rows[i] = { worker, counts[worker] } end
return { slice[1], #found / 2, bytes, rows }
