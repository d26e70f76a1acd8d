#!lua flags=allow-oom
-- bring_back.lua: one slice of what was set aside of a type that is paused no more, or was held of
-- a type that has no limits any more, goes back to the queue, in front of what waits there.
--
-- KEYS  1 held LIST of the type, oldest on the right   2 held SET   3 paused types HASH
--       4 redeliver LIST
-- ARGV  1 its name in the held SET   2 max deliveries   3 most entries   4 most bytes
-- Returns { moved, still there }; { 0, 0 } when the type is paused (again).
-- Cost  O(moved), bounded by entries and by bytes.
--
-- The newest goes first, each to the front, so that in the end the oldest is the very next. Safe
-- to repeat and to race: copied before it is removed, and slices of two callers do not overlap.
local call = redis.call
-- @include lib/entry.lua
local name, max_deliveries = ARGV[1], tonumber(ARGV[2])
local left, bytes = tonumber(ARGV[3]), tonumber(ARGV[4])
if call('HEXISTS', KEYS[3], string.match(name, '^paused:(.*)$') or name) == 1 then return { 0, 0 } end
local moved, step = 0, 1
while left > 0 and bytes > 0 do
  local chunk = call('LRANGE', KEYS[1], 0, math.min(step, left) - 1)
  if #chunk == 0 then break end
  local largest = 0
  for _, entry in ipairs(chunk) do
    local _, deliveries = parse_entry(entry)
    put_to_redeliver(KEYS[4], entry, deliveries, max_deliveries)
    bytes, largest = bytes - #entry, math.max(largest, #entry)
  end
  call('LTRIM', KEYS[1], #chunk, -1)
  moved, left = moved + #chunk, left - #chunk
  step = math.max(1, math.min(500, math.floor(bytes / (largest + 1))))
end
local rest = call('LLEN', KEYS[1])
if rest == 0 then call('SREM', KEYS[2], name) end
return { moved, rest }
