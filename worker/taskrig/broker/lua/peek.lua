#!lua flags=no-writes,allow-oom
-- peek.lua: one slice of a list, from the end that is taken next. Writes nothing.
--
-- KEYS  1 LIST
-- ARGV  1 end that is taken next: right|left    2 how many to pass over
--       3 most items   4 most bytes   5 larger items are answered by their size only
-- Returns { length of the list, items or sizes... }
-- Cost  O(items + bytes), both bounded, and O(passed over / items in a node).
local call = redis.call
local right, skip = ARGV[1] == 'right', tonumber(ARGV[2])
local left, bytes, max_item = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local items, step = {}, 1
while left > 0 and bytes > 0 do
  local n = math.min(step, left)
  local chunk = right and call('LRANGE', KEYS[1], -skip - n, -skip - 1)
    or call('LRANGE', KEYS[1], skip, skip + n - 1)
  local largest, seen = 0, 0
  while seen < #chunk and bytes > 0 do
    seen = seen + 1
    local item = right and chunk[#chunk + 1 - seen] or chunk[seen]
    items[#items + 1] = #item <= max_item and item or #item
    bytes, largest = bytes - #item, math.max(largest, #item)
  end
  skip, left = skip + seen, left - seen
  if seen < n then break end
  step = math.max(1, math.min(step == 1 and 16 or 500, math.floor(bytes / (largest + 1))))
end
return { call('LLEN', KEYS[1]), items }
