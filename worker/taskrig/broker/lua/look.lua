#!lua flags=no-writes,allow-oom
-- look.lua: how things stand, for gauges and housekeeping. Writes nothing.
--
-- KEYS  1 queue LIST  2 arrivals LIST  3 redeliver LIST  4 inflight HASH  5 delayed ZSET
--       6 dead STREAM 7 stats HASH     8 workers ZSET    9 paused STRING  10 reclaiming STRING
--      11 held SET, and LIST <held>:<name> for each name in it   12 paused types HASH
--      13 lists SET, and for each name in it that LIST and <arrivals>:<name>
--      14 requeued HASH (see dead_move.lua)   15 origin STRING
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
--           where the data began ("": Redis lost it, or nobody has said it yet; "?": of a wrong type) }
-- Cost  O(log workers + held types + paused types + lists) and the sizes of the front items.
local call = redis.call
local time = call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local function front_of(list)
  local front = call('LINDEX', list, ARGV[1] == 'right' and -1 or 0) or ''
  if #front > 4096 then return '' end
  -- What was requeued carries a time that counts no more.
  local requeued = redis.pcall('HGET', KEYS[14], string.sub(redis.sha1hex(front), 1, 16))
  return type(requeued) == 'string' and '' or front
end
local lists, others = {}, 0
for _, name in ipairs(call('SMEMBERS', KEYS[13])) do
  local own = name == KEYS[1]
  local waiting = call('LLEN', name) + call('LLEN', own and KEYS[2] or KEYS[2] .. ':' .. name)
  if not own then others = others + waiting end
  lists[#lists + 1] = { name, waiting, own and '' or front_of(name) }
end
local held, aside, left_over, held_back, wrong = 0, 0, {}, {}, {}
for _, name in ipairs(call('SMEMBERS', KEYS[11])) do
  local key = KEYS[11] .. ':' .. name
  local length, paused = redis.pcall('LLEN', key), string.match(name, '^paused:(.*)$')
  if type(length) == 'table' then
    wrong[#wrong + 1] = { key, call('TYPE', key).ok }
  elseif paused then
    aside = aside + length
    if call('HEXISTS', KEYS[12], paused) == 0 then left_over[#left_over + 1] = name end
  else
    held = held + length
    held_back[#held_back + 1] = { name, length }
  end
end
-- HSCAN, not HKEYS: the rights documented before types could be paused allow it.
local paused_types, cursor = {}, '0'
repeat
  local part = call('HSCAN', KEYS[12], cursor, 'COUNT', 1000)
  cursor = part[1]
  for i = 1, #part[2], 2 do paused_types[#paused_types + 1] = part[2][i] end
until cursor == '0'
local origin = redis.pcall('GET', KEYS[15])
return {
  call('LLEN', KEYS[1]) + call('LLEN', KEYS[2]) + call('LLEN', KEYS[3]) + held + others,
  call('HLEN', KEYS[4]), call('ZCARD', KEYS[5]), call('XLEN', KEYS[6]),
  call('ZCOUNT', KEYS[8], '-inf', '(' .. string.format('%.0f', now)),
  call('EXISTS', KEYS[9]), call('GET', KEYS[10]) or '',
  tonumber(call('HGET', KEYS[7], 'claimed') or 0),
  tonumber(call('HGET', KEYS[7], 'dead_trimmed') or 0), tonumber(time[1]),
  front_of(KEYS[1]), aside, paused_types, left_over, held, lists, held_back, wrong,
  tonumber(call('HGET', KEYS[7], 'invalid_trimmed') or 0),
  type(origin) == 'table' and '?' or origin or '',
}
