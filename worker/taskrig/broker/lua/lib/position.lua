-- How many have left the queue: what was claimed again, put back, or counted twice is discounted.
-- Workers that know no discount make it higher, never lower. `more`: totals still to be written.
local function position_of(stats, more)
  local seen = redis.call('HMGET', stats, 'claimed', 'invalid', 'recounted')
  local function total(i, name) return (tonumber(seen[i]) or 0) + (more[name] or 0) end
  return total(1, 'claimed') + total(2, 'invalid') - total(3, 'recounted')
end
