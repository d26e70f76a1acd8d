#!lua flags=allow-oom
-- schedule.lua: enqueue a scheduled task for one time, unless that was done; or learn when last.
--
-- KEYS  1 schedule HASH name -> Unix s of the last time enqueued   2 queue LIST
-- ARGV  1 name   2 time, Unix s   3 item ("": enqueue nothing; a name that is new begins here)
--       4 side to pop: right|left
-- Returns { 1 when it was enqueued else 0, the last time }
-- Cost  O(1).
--
-- One script: two workers that see the same time due enqueue once. What was enqueued only grows.
local last = redis.call('HGET', KEYS[1], ARGV[1])
if ARGV[3] == '' then
  if not last then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
  return { 0, last or ARGV[2] }
end
if last and tonumber(last) >= tonumber(ARGV[2]) then return { 0, last } end
redis.call(ARGV[4] == 'right' and 'LPUSH' or 'RPUSH', KEYS[2], ARGV[3])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return { 1, ARGV[2] }
