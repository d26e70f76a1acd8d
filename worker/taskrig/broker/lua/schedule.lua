#!lua flags=allow-oom
-- schedule.lua: enqueue a scheduled task for one time, unless that was done; or learn when last.
--
-- KEYS  1 schedule HASH name -> Unix s of the last time enqueued   2 queue LIST
-- ARGV  1 name   2 time, Unix s   3 item ("": enqueue nothing; a name that is new begins here)
--       4 side to pop: right|left   5 a last time that 2 replaces, where 3 is "" ("": none)
-- Returns { 1 when it was enqueued else 0, the last time }
-- Cost  O(1).
--
-- One script: two workers that see the same time due enqueue once. The last time only grows, unless
-- the clock was set back. A time that is still to come is left alone: its caller has not noticed yet.
local last = redis.call('HGET', KEYS[1], ARGV[1])
if ARGV[3] == '' then
  if not last or last == ARGV[5] then
    redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
    last = ARGV[2]
  end
  return { 0, last }
end
if last and tonumber(last) >= tonumber(ARGV[2]) then return { 0, last } end
if tonumber(ARGV[2]) > tonumber(redis.call('TIME')[1]) + 2 then return { 0, last or '0' } end
redis.call(ARGV[4] == 'right' and 'LPUSH' or 'RPUSH', KEYS[2], ARGV[3])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return { 1, ARGV[2] }
