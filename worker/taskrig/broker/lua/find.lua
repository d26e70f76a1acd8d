#!lua flags=no-writes,allow-oom
-- find.lua: look through one slice of a place where tasks are, for those that hold a text. Writes nothing.
--
-- KEYS  1 LIST, ZSET, HASH or STREAM
-- ARGV  1 kind: left | right (a LIST, from this end) | zset | hash | stream (newest first)
--       2 where the slice begins: how many to pass over; of a hash HSCAN's cursor; of a stream an id,
--         "(id" or "+"
--       3 most entries to look at   4 most bytes to look at   5 most to return
--       6 larger items are answered by their size only
--       7 text ("": any): what holds it is returned, and what holds a backslash, for in JSON the text may be
--         escaped
-- Returns { next ("" at the end), looked at, bytes, { place, item or its size }... }
--   place: of a list how many stand before it, of a zset its score, of a hash its field, of a stream its id
-- Cost  O(entries + bytes of the slice), both bounded; at least one entry is looked at. Of a hash HSCAN
--       decides how many.
local call = redis.call
local kind, at, text = ARGV[1], ARGV[2], ARGV[7]
local left, bytes, room, max_item = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local seen, size, rows = 0, 0, {}

local function look(place, item)
  seen, size = seen + 1, size + #item
  local match = text == '' or string.find(item, text, 1, true) or string.find(item, '\\', 1, true)
  if match then rows[#rows + 1] = { place, #item <= max_item and item or #item } end
end

if kind == 'hash' then
  local answer = call('HSCAN', KEYS[1], at, 'COUNT', left)
  for i = 1, #answer[2], 2 do look(answer[2][i], answer[2][i + 1]) end
  return { answer[1] == '0' and '' or answer[1], seen, size, rows }
end

-- The next n entries as { place, item }, in order.
local function read(n)
  local found = {}
  if kind == 'zset' then
    local flat = call('ZRANGE', KEYS[1], at, at + n - 1, 'WITHSCORES')
    for i = 1, #flat, 2 do found[#found + 1] = { flat[i + 1], flat[i] } end
  elseif kind == 'stream' then
    for _, entry in ipairs(call('XREVRANGE', KEYS[1], at, '-', 'COUNT', n)) do
      local raw = ''
      for i = 1, #entry[2], 2 do
        if entry[2][i] == 'raw' then raw = entry[2][i + 1] end
      end
      found[#found + 1] = { entry[1], raw }
    end
  else
    local right = kind == 'right'
    local chunk = right and call('LRANGE', KEYS[1], -at - n, -at - 1) or call('LRANGE', KEYS[1], at, at + n - 1)
    for i = 1, #chunk do
      found[i] = { string.format('%.0f', at + i - 1), right and chunk[#chunk + 1 - i] or chunk[i] }
    end
  end
  return found
end

if kind ~= 'stream' then at = tonumber(at) end
local step = 1
while left > 0 and size < bytes and #rows < room do
  local n = math.min(step, left)
  local chunk = read(n)
  local largest, looked = 0, 0
  while looked < #chunk and #rows < room and (looked == 0 or size < bytes) do
    looked = looked + 1
    local entry = chunk[looked]
    look(entry[1], entry[2])
    largest = math.max(largest, #entry[2])
    if kind == 'stream' then at = '(' .. entry[1] else at = at + 1 end
  end
  left = left - looked
  if looked == #chunk and #chunk < n then return { '', seen, size, rows } end
  -- Small entries are read in large steps; the first step looks at one only.
  step = math.max(1, math.min(step == 1 and 16 or 500, math.floor((bytes - size) / (largest + 1))))
end
return { kind == 'stream' and at or string.format('%.0f', at), seen, size, rows }
