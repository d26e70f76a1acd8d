#!lua flags=allow-oom
-- dead_move.lua: requeue or drop one slice of the dead letters.
--
-- KEYS  1 queue LIST   2 dead STREAM   3 dead_index LIST   4 stats HASH   5 requeued HASH
--      and, of letters with an id, LIST <prefix>result:<id>
-- ARGV  1 requeue | drop      2 side to pop: right|left
--       3 where the slice begins: an id, "(id" or "-"      4 the last id that may be touched
--       5 most entries to look at     6 most bytes to look at
--       7.. pairs of field and value that an entry must have
-- Returns { next ("" at the end), looked at, moved }
-- Cost  O(entries + bytes of the slice), both bounded; at least one entry is looked at. For an
--       invalid item also its place in dead_index: oldest first finds it at the front.
--
-- A requeued task goes to the back of the queue, byte for byte, as if pushed anew: a million of
-- them do not hold up what waits. It is copied before it is removed, entry by entry.
--
-- Its bytes may carry times (enqueued_at, run_at) by which it would expire again. So it is noted, by
-- a hash of its bytes, how many copies were requeued, and when the last: "copies:Unix ms". The claim
-- (see exchange.lua) takes the note along. Which of several items with the same bytes takes it makes
-- no difference.
local call = redis.call
local queue, dead, index, stats = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local requeue, push = ARGV[1] == 'requeue', ARGV[2] == 'right' and 'LPUSH' or 'RPUSH'
local at, to = ARGV[3], ARGV[4]
local left, bytes = tonumber(ARGV[5]), tonumber(ARGV[6])
local seen, moved, step, ended = 0, 0, 1, false
-- @include lib/type_of.lua

-- @include lib/now.lua
local function note(raw)
  local has = function(text) return string.find(raw, text, 1, true) end
  if not (has('enqueued_at') or has('run_at') or has('\\u')) then return end
  local name = string.sub(redis.sha1hex(raw), 1, 16)
  local copies = string.match(call('HGET', KEYS[5], name) or '', '^(%d+):')
  call('HSET', KEYS[5], name, string.format('%.0f', (copies or 0) + 1) .. string.format(':%.0f', now))
end

-- A requeued task has no result until it has ended again.
local function forget_result(task)
  local key = string.sub(dead, 1, -5) .. 'result:' .. task
  if call('TYPE', key).ok == 'list' then redis.pcall('DEL', key) end
end

while left > 0 and bytes > 0 and not ended do
  local n = math.min(step, left)
  local chunk = call('XRANGE', dead, at, to, 'COUNT', n)
  local largest = 0
  for _, entry in ipairs(chunk) do
    local f, flat = {}, entry[2]
    for i = 1, #flat, 2 do f[flat[i]] = flat[i + 1] end
    local raw = f['raw']
    local match = raw and true or not requeue
    for i = 7, #ARGV, 2 do
      match = match and (ARGV[i] == 'type' and type_of(f) or f[ARGV[i]] or '') == ARGV[i + 1]
    end
    local size = raw and #raw or 0
    if match then
      if requeue then
        note(raw)
        call(push, queue, raw)
        if f['id'] then forget_result(f['id']) end
      end
      call('XDEL', dead, entry[1])
      if f['outcome'] == 'invalid' and call('LREM', index, 1, entry[1] .. ' ' .. size) == 1 then
        call('HINCRBY', stats, 'invalid_kept_bytes', -size)
      end
      moved = moved + 1
    end
    seen, bytes, largest = seen + 1, bytes - size, math.max(largest, size)
    at = '(' .. entry[1]
  end
  left, ended = left - #chunk, #chunk < n
  -- Small entries are read in large steps; the first step looks at one only.
  step = math.max(1, math.min(step == 1 and 16 or 500, math.floor(bytes / (largest + 1))))
end
if moved > 0 then call('HINCRBY', stats, requeue and 'requeued' or 'dropped', moved) end
return { ended and '' or at, seen, moved }
