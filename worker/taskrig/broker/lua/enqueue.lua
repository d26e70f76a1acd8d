#!lua
-- enqueue.lua: push tasks, some of which are tracked: what is read of them meanwhile is "waiting".
--
-- KEYS  1 the LIST to push to   2.. STRING <prefix>state:<id> of each tracked one
-- ARGV  1 side to pop: right|left   2 seconds for which a state is kept   3.. items, the first to run first
-- Returns how many wait in the list then.
-- Cost  O(items).
--
-- One step: a state that is written after a worker has settled the task would stay. It is a producer's
-- push: a full server refuses it.
local call = redis.call
local list = call('TYPE', KEYS[1]).ok
if list ~= 'none' and list ~= 'list' then
  return redis.error_reply('WRONGTYPE Operation against a key holding the wrong kind of value')
end
for i = 2, #KEYS do
  local is = call('TYPE', KEYS[i]).ok
  if is == 'none' or is == 'string' then call('SET', KEYS[i], 'waiting', 'EX', ARGV[2]) end
end
local length = 0
for i = 3, #ARGV, 1000 do
  length = call(ARGV[1] == 'right' and 'LPUSH' or 'RPUSH', KEYS[1], unpack(ARGV, i, math.min(i + 999, #ARGV)))
end
return length
