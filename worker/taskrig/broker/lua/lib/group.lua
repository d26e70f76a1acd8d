-- A group that was adopted: HASH <prefix>group_state:<name> with of, state, deadline, succeeded,
-- failed, and for "then" and "otherwise" how many tasks follow, and of each its list and its item.
-- The items lack their end, which is made of numbers here: Lua reads no JSON.
local DAY = 86400  -- for which a group that has ended is remembered

-- What follows it, of one end. Lists of a wrong type show here, before anything is written.
local function follow_ups_of(state, name)
  local found = {}
  for i = 1, tonumber(redis.call('HGET', state, name) or 0) do
    local one = redis.call('HMGET', state, name .. '_list:' .. i, name .. ':' .. i)
    redis.call('LLEN', one[1])
    found[i] = one
  end
  return found
end

-- It has ended: push what follows it. Nothing here can fail after the first push.
local function end_group(prefix, name, how, found, good, bad, from_right)
  local state, bits = prefix .. 'group_state:' .. name, prefix .. 'group_ended:' .. name
  redis.pcall('HSET', state, 'state', how)
  redis.pcall('ZREM', prefix .. 'groups', name)
  redis.pcall('DEL', prefix .. 'group:' .. name)  -- or a late member would begin it again
  redis.pcall('EXPIRE', state, DAY)
  redis.pcall('EXPIRE', bits, DAY)
  local ending = string.format(',"succeeded":%d,"failed":%d', good, bad)
    .. (how == 'expired' and ',"expired":true' or '') .. '}}'
  for _, one in ipairs(found) do
    redis.call(from_right and 'LPUSH' or 'RPUSH', one[1], one[2] .. ending)
  end
end
