#!lua flags=no-writes,allow-oom
-- look.lua: how things stand, for gauges and housekeeping. Writes nothing.
--
-- KEYS  1 queue LIST  2 arrivals LIST  3 redeliver LIST  4 inflight HASH  5 delayed ZSET
--       6 dead STREAM 7 stats HASH     8 workers ZSET    9 paused STRING  10 reclaiming STRING
--      11 held SET, and LIST <held>:<name> for each name in it   12 paused types HASH
--      13 lists SET, and for each name in it that LIST and <arrivals>:<name>
--      14 requeued HASH (see dead_move.lua)   15 origin STRING
--      16 groups ZSET
-- ARGV  1 side to pop: right|left
-- Returns { waiting (without what is set aside), in flight, delayed, dead, expired leases,
--           paused, scan held by, claimed so far, dead letters trimmed so far, TIME in s,
--           front item or "" (only up to 4 KiB; "" if requeued), set aside of paused types,
--           { names of paused types }, { names of types no longer paused with tasks set aside },
--           those of the waiting ones that a limit keeps back,
--           { name of a list, waiting there, its front item }..., where there are several,
--           { name of a type that limits hold back, how many }...,
--           { key that is no list and should be one, what it is }...,
--           of the dead letters trimmed, those that were invalid items,
--           where the data began ("": Redis lost it, or nobody has said it yet; "?": of a wrong type),
--           groups whose time is over }
-- Cost  O(log workers + held types + paused types + lists) and the sizes of the front items.
local call = redis.call
-- @include lib/now.lua
-- @include lib/depths.lua
local k = {
  queue = KEYS[1], arrivals = KEYS[2], redeliver = KEYS[3], inflight = KEYS[4], delayed = KEYS[5],
  dead = KEYS[6], held = KEYS[11], lists = KEYS[13], requeued = KEYS[14],
}
local d = depths_of(k, ARGV[1] == 'right')
local left_over = {}
for _, one in ipairs(d.aside_by) do
  if call('HEXISTS', KEYS[12], one[1]) == 0 then left_over[#left_over + 1] = 'paused:' .. one[1] end
end
local paused_types, cursor = {}, '0'
repeat
  local part = call('HSCAN', KEYS[12], cursor, 'COUNT', 1000)
  cursor = part[1]
  for i = 1, #part[2], 2 do paused_types[#paused_types + 1] = part[2][i] end
until cursor == '0'
local overdue = redis.pcall('ZCOUNT', KEYS[16], '-inf', string.format('%.0f', now))
local origin = redis.pcall('GET', KEYS[15])
return {
  d.waiting, d.in_flight, d.delayed, d.dead,
  call('ZCOUNT', KEYS[8], '-inf', '(' .. string.format('%.0f', now)),
  call('EXISTS', KEYS[9]), call('GET', KEYS[10]) or '',
  tonumber(call('HGET', KEYS[7], 'claimed') or 0),
  tonumber(call('HGET', KEYS[7], 'dead_trimmed') or 0), tonumber(time[1]),
  d.front, d.aside, paused_types, left_over, d.held, d.lists, d.held_by, d.wrong,
  tonumber(call('HGET', KEYS[7], 'invalid_trimmed') or 0),
  type(origin) == 'table' and '?' or origin or '',
  type(overdue) == 'table' and 0 or overdue,
}
