-- The mark of a unique task, "<name of the type> <task id>", and the keys that it leads to.
local function split_mark(prefix, mark)
  local space = string.find(mark, ' ', 1, true) or 0
  local name = string.sub(mark, 1, space - 1)
  return prefix .. 'unique:' .. name, prefix .. 'barriers:' .. name, string.sub(mark, space + 1)
end

-- It has ended: all that waits now, up to this position, was pushed before. Of these keys a wrong
-- type costs the mark, no more.
local function lift_mark(marks, tag, mark, barrier)
  local ids, barriers, task = split_mark(string.sub(marks, 1, -6), mark)
  if barrier then redis.pcall('ZADD', barriers, barrier, task) end
  if redis.pcall('HGET', ids, task) == tag then redis.call('HDEL', ids, task) end
  redis.call('HDEL', marks, tag)
end
