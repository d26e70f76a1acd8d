#!lua flags=allow-oom
-- set_back.lua: the server's clock was set back. One slice of the delayed retries follows it: they
-- were to wait for a while, not until a time. Tasks with a run_at, which never failed, stay.
--
-- KEYS  1 delayed ZSET   2 clock STRING "ms of TIME, ms set back": the last time this was done
-- ARGV  1 ms by which the clock was set back   2 ms ago at most
--       3 where the slice begins: "" at first, then what the last one returned   4 most entries
-- Returns { next ("" at the end, or when another worker has done it), seen, moved, bytes }
-- Cost  O(entries * log delayed + bytes); the caller sizes the slices.
--
-- Later ones last: what moves goes back behind the slices, so that none moves twice. A retry that
-- failed after the step and waits for longer than the clock was set back may come too early.
local call = redis.call
local by, within, count = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[4])
-- @include lib/now.lua
-- @include lib/entry.lua
local from, skip = string.match(ARGV[3], '^(%d+) (%d+)$')
if not from then
  local at, of = string.match(call('GET', KEYS[2]) or '', '^(%d+) (%d+)$')
  at, of = tonumber(at), tonumber(of)
  if at and at >= now - within - 1000 and at <= now + 1000 and math.abs(of - by) < 1000 then
    return { '', 0, 0, 0 }
  end
  call('SET', KEYS[2], string.format('%.0f %.0f', now, by))
  -- When this worker last saw the clock, it showed that much; what is due sooner is of the new time.
  from, skip = string.format('%.0f', math.max(now, now + by - within)), 0
end
local found = call('ZRANGEBYSCORE', KEYS[1], from, '+inf', 'WITHSCORES', 'LIMIT', skip, count)
local last, stay = from, tonumber(skip)
local moved, bytes = 0, 0
for i = 1, #found, 2 do
  local entry, due = found[i], found[i + 1]
  if due ~= last then last, stay = due, 0 end
  bytes = bytes + #entry
  local _, _, attempts = parse_entry(entry)
  if attempts > 0 then
    call('ZADD', KEYS[1], string.format('%.0f', tonumber(due) - by), entry)
    moved = moved + 1
  else
    stay = stay + 1
  end
end
local seen = #found / 2
return { seen < count and '' or string.format('%.0f %d', tonumber(last), stay), seen, moved, bytes }
