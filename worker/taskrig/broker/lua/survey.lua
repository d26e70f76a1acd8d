#!lua flags=no-writes,allow-oom
-- survey.lua: the whole picture for a person: depths, totals, workers. Writes nothing.
--
-- KEYS  1 queue LIST  2 arrivals LIST  3 redeliver LIST  4 inflight HASH  5 delayed ZSET
--       6 dead STREAM 7 stats HASH     8 workers ZSET    9 paused STRING  10 about HASH
--      11 control HASH  12 held SET, and LIST <held>:<name> for each name in it
--      13 paused types HASH
--      14 lists SET, and for each name in it that LIST and <arrivals>:<name>
--      15 requeued HASH (see dead_move.lua)
-- ARGV  1 side to pop: right|left   2 most workers to describe
-- Returns { waiting (without what is set aside), in flight, delayed, dead, TIME in s, us,
--           paused ("" when not),
--           front item or "" (only up to 4 KiB), expired leases, live leases,
--           stats as HGETALL, { id, lease left in ms, about, control }...,
--           { name of a paused type, since and why ("": no longer paused), set aside }...,
--           { name of a list, waiting there, its front item }..., where there are several }
-- Cost  O(workers), bounded by ARGV[2], O(lists), and the sizes of the front items.
local call = redis.call
-- @include lib/now.lua
-- @include lib/depths.lua
local at = string.format('%.0f', now)
local k = {
  queue = KEYS[1], arrivals = KEYS[2], redeliver = KEYS[3], inflight = KEYS[4], delayed = KEYS[5],
  dead = KEYS[6], held = KEYS[12], lists = KEYS[14], requeued = KEYS[15],
}
local d = depths_of(k, ARGV[1] == 'right')
local alive = call('ZRANGEBYSCORE', KEYS[8], at, '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
local workers = {}
for i = 1, #alive, 2 do
  local id = alive[i]
  workers[#workers + 1] = {
    id, math.floor(tonumber(alive[i + 1]) - now),
    call('HGET', KEYS[10], id) or '', call('HGET', KEYS[11], id) or '',
  }
end
local paused, told = {}, {}
for _, one in ipairs(d.aside_by) do
  told[one[1]] = true
  paused[#paused + 1] = { one[1], call('HGET', KEYS[13], one[1]) or '', one[2] }
end
local types = call('HGETALL', KEYS[13])
for i = 1, #types, 2 do
  if not told[types[i]] then paused[#paused + 1] = { types[i], types[i + 1], 0 } end
end
return {
  d.waiting, d.in_flight, d.delayed, d.dead,
  tonumber(time[1]), tonumber(time[2]), call('GET', KEYS[9]) or '',
  d.front,
  call('ZCOUNT', KEYS[8], '-inf', '(' .. at), call('ZCOUNT', KEYS[8], at, '+inf'),
  call('HGETALL', KEYS[7]), workers, paused, d.lists,
}
