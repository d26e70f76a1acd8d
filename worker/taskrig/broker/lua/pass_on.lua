#!lua flags=allow-oom
-- pass_on.lua: put what woke a worker that cannot take it back to the queue's front, where the
-- push wakes the blocking move of another worker.
--
-- KEYS  1 arrivals LIST   2 queue LIST
-- ARGV  1 side to pop: right|left   2 most items
-- Returns how many.
-- Cost  O(n), bounded by ARGV[2].
--
-- The newest arrival goes first, so that the oldest ends at the very front.
local moved = 0
while moved < tonumber(ARGV[2]) do
  if not redis.call('LMOVE', KEYS[1], KEYS[2], 'LEFT', ARGV[1] == 'right' and 'RIGHT' or 'LEFT') then
    return moved
  end
  moved = moved + 1
end
return moved
