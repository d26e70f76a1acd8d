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
local time = call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local at = string.format('%.0f', now)
local function front_of(list)
  local front = call('LINDEX', list, ARGV[1] == 'right' and -1 or 0) or ''
  if #front > 4096 then return '' end
  -- What was requeued carries a time that counts no more.
  local requeued = redis.pcall('HGET', KEYS[15], string.sub(redis.sha1hex(front), 1, 16))
  return type(requeued) == 'string' and '' or front
end
local lists, others = {}, 0
for _, name in ipairs(call('SMEMBERS', KEYS[14])) do
  local own = name == KEYS[1]
  local waiting = call('LLEN', name) + call('LLEN', own and KEYS[2] or KEYS[2] .. ':' .. name)
  if not own then others = others + waiting end
  lists[#lists + 1] = { name, waiting, own and '' or front_of(name) }
end
local alive = call('ZRANGEBYSCORE', KEYS[8], at, '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
local workers = {}
for i = 1, #alive, 2 do
  local id = alive[i]
  workers[#workers + 1] = {
    id, math.floor(tonumber(alive[i + 1]) - now),
    call('HGET', KEYS[10], id) or '', call('HGET', KEYS[11], id) or '',
  }
end
local held, paused, told = 0, {}, {}
local function aside(type, why, length)
  told[type] = true
  paused[#paused + 1] = { type, why or '', length }
end
for _, name in ipairs(call('SMEMBERS', KEYS[12])) do
  local length, paused = redis.pcall('LLEN', KEYS[12] .. ':' .. name), string.match(name, '^paused:(.*)$')
  if type(length) == 'table' then length = 0 end  -- no list: the workers name it
  if paused then aside(paused, call('HGET', KEYS[13], paused), length) else held = held + length end
end
local types = call('HGETALL', KEYS[13])
for i = 1, #types, 2 do
  if not told[types[i]] then aside(types[i], types[i + 1], 0) end
end
return {
  call('LLEN', KEYS[1]) + call('LLEN', KEYS[2]) + call('LLEN', KEYS[3]) + held + others,
  call('HLEN', KEYS[4]), call('ZCARD', KEYS[5]), call('XLEN', KEYS[6]),
  tonumber(time[1]), tonumber(time[2]), call('GET', KEYS[9]) or '',
  front_of(KEYS[1]),
  call('ZCOUNT', KEYS[8], '-inf', '(' .. at), call('ZCOUNT', KEYS[8], at, '+inf'),
  call('HGETALL', KEYS[7]), workers, paused, lists,
}
