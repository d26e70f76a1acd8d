#!lua flags=no-writes,allow-oom
-- dead_page.lua: look through one slice of the dead letters. Writes nothing.
--
-- KEYS  1 dead STREAM
-- ARGV  1 where the slice begins: an id, "(id", "-" or "+"    2 where all ends: an id, "-" or "+"
--       3 "1": newest first     4 most entries to look at     5 most bytes to look at
--       6 most entries to return (0: only count)     7 bytes of each item to return (-1: all)
--       8.. pairs of field and value that an entry must have
-- Returns { next ("" at the end), looked at, matching,
--           { id, size, start of raw, outcome, reason, error, type, deliveries, worker, time,
--             traceback }... }
-- Cost  O(entries + bytes of the slice), both bounded; at least one entry is looked at.
local call = redis.call
local at, to, newest = ARGV[1], ARGV[2], ARGV[3] == '1'
local left, bytes, room, shown = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local seen, matching, rows, step = 0, 0, {}, 1
-- @include lib/type_of.lua

local function read(n)
  if newest then return call('XREVRANGE', KEYS[1], at, to, 'COUNT', n) end
  return call('XRANGE', KEYS[1], at, to, 'COUNT', n)
end

while left > 0 and bytes > 0 and (room == 0 or #rows < room) do
  local n = math.min(step, left, room == 0 and step or room - #rows)
  local chunk = read(n)
  local largest, read_now = 0, 0
  while read_now < #chunk and (read_now == 0 or bytes > 0) do
    read_now = read_now + 1
    local entry = chunk[read_now]
    local f, flat = {}, entry[2]
    for i = 1, #flat, 2 do f[flat[i]] = flat[i + 1] end
    local raw = f['raw'] or ''
    local size = #raw + #(f['traceback'] or '')
    seen, bytes, largest = seen + 1, bytes - size, math.max(largest, size)
    at = '(' .. entry[1]
    local match = true
    for i = 8, #ARGV, 2 do
      match = match and (ARGV[i] == 'type' and type_of(f) or f[ARGV[i]] or '') == ARGV[i + 1]
    end
    if match then matching = matching + 1 end
    if match and room > 0 then
      rows[#rows + 1] = {
        entry[1], #raw, shown < 0 and raw or string.sub(raw, 1, shown), f['outcome'] or '',
        f['reason'] or '', f['error'] or '', type_of(f), f['deliveries'] or '',
        f['worker'] or '', f['time'] or '', f['traceback'] or '',
      }
    end
  end
  left = left - read_now
  if read_now < #chunk then break end  -- the bytes are used up
  if #chunk < n then return { '', seen, matching, rows } end
  -- Small entries are read in large steps; the first step looks at one only.
  step = math.max(1, math.min(step == 1 and 16 or 500, math.floor(bytes / (largest + 1))))
end
return { at, seen, matching, rows }
