-- How many tasks stand where: the one definition that all of status, gauges and tools share.
--
-- k names keys: queue, arrivals, redeliver, inflight, delayed, dead, held, lists, requeued.
-- Returns a table:
--   waiting  in every list, where blocking moves land, to be delivered again, held by limits; not
--            those of paused types
--   in_flight, delayed, dead
--   held     of the waiting ones, those that a limit keeps back; held_by {name, how many}...
--   aside    of paused types, set aside; aside_by {name, how many}...
--   lists    {name, waiting there, its front item}..., where there are several
--   front    the queue's next item; "" where it is over 4 KiB, or was requeued
--   wrong    {key, its type}... of held lists that are none
local function depths_of(k, from_right)
  local call = redis.call
  local function front_of(list)
    local front = call('LINDEX', list, from_right and -1 or 0) or ''
    if #front > 4096 then return '' end
    -- What was requeued carries a time that counts no more.
    local requeued = redis.pcall('HGET', k.requeued, string.sub(redis.sha1hex(front), 1, 16))
    return type(requeued) == 'string' and '' or front
  end
  local d = { held = 0, aside = 0, held_by = {}, aside_by = {}, lists = {}, wrong = {} }
  local others = 0
  for _, name in ipairs(call('SMEMBERS', k.lists)) do
    local own = name == k.queue
    local waiting = call('LLEN', name) + call('LLEN', own and k.arrivals or k.arrivals .. ':' .. name)
    if not own then others = others + waiting end
    d.lists[#d.lists + 1] = { name, waiting, own and '' or front_of(name) }
  end
  for _, name in ipairs(call('SMEMBERS', k.held)) do
    local key = k.held .. ':' .. name
    local length, paused = redis.pcall('LLEN', key), string.match(name, '^paused:(.*)$')
    if type(length) == 'table' then
      d.wrong[#d.wrong + 1] = { key, call('TYPE', key).ok }
    elseif paused then
      d.aside = d.aside + length
      d.aside_by[#d.aside_by + 1] = { paused, length }
    else
      d.held = d.held + length
      d.held_by[#d.held_by + 1] = { name, length }
    end
  end
  d.waiting = call('LLEN', k.queue) + call('LLEN', k.arrivals) + call('LLEN', k.redeliver)
    + d.held + others
  d.in_flight, d.delayed, d.dead = call('HLEN', k.inflight), call('ZCARD', k.delayed), call('XLEN', k.dead)
  d.front = front_of(k.queue)
  return d
end
