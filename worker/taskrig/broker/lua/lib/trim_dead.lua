-- lib/trim_dead.lua: what the scripts that bury include, to keep no more than `max` dead letters that are
-- not invalid items: the oldest go first. Invalid items stand among them and have bounds of their
-- own (see exchange.lua).
--
-- dead STREAM, index LIST of the invalid items, stats HASH; `from` STRING: the id up to which only
-- invalid items are left, so that no walk passes over them twice. `buried`: how many came just now.
-- Returns how many were dropped.
-- Cost  O(buried), and at most 1,000 entries or 256 KiB more; what is left over goes the next time.
local function trim_dead(dead, index, stats, from, max, invalid_max, buried)
  local call = redis.call
  local total, known = call('XLEN', dead), call('GET', from)
  local over = total - call('LLEN', index) - max
  if total <= max or known and over <= 0 then return 0 end

  -- Workers of 0.1.0 dropped invalid items and left them in the index.
  local function drop_stale(oldest)
    local ms, n = string.match(oldest, '^(%d+)-(%d+)$')
    while true do
      local entry, size = string.match(call('LINDEX', index, 0) or '', '^(%S+) (%d+)$')
      local its_ms, its_n = string.match(entry or '', '^(%d+)-(%d+)$')
      its_ms, its_n = tonumber(its_ms), tonumber(its_n)
      if not its_ms or its_ms > tonumber(ms) or its_ms == tonumber(ms) and its_n >= tonumber(n) then return end
      call('LPOP', index)
      call('HINCRBY', stats, 'invalid_kept_bytes', -size)
      over = over + 1
    end
  end

  local at, last = known and '(' .. known or '-', known or '0-0'
  local dropped, left, bytes, step = 0, 1000, 262144, 1
  while left > 0 and bytes > 0 do
    local chunk = redis.pcall('XRANGE', dead, at, '+', 'COUNT', step)
    if chunk.err then  -- the rights that were documented for 0.1.0 lack it
      return dropped + call('XTRIM', dead, 'MAXLEN', max + invalid_max)
    end
    if at == '-' and chunk[1] then drop_stale(chunk[1][1]) end
    if over <= 0 or #chunk == 0 and at == '-' then break end
    local largest = 0
    for _, entry in ipairs(chunk) do
      local size, invalid = 0, false
      for i = 1, #entry[2], 2 do
        if entry[2][i] == 'raw' then size = #entry[2][i + 1] end
        if entry[2][i] == 'outcome' then invalid = entry[2][i + 1] == 'invalid' end
      end
      last, largest = entry[1], math.max(largest, size)
      if not invalid then
        dropped, over = dropped + call('XDEL', dead, last), over - 1
      end
      -- In exchange for what came, as much may go, whatever its size.
      if invalid or dropped > buried then left, bytes = left - 1, bytes - size end
    end
    at = '(' .. last
    if #chunk == 0 then at, last = '-', '0-0' end  -- the stream was deleted by hand
    if over <= 0 then break end
    step = math.max(1, math.min(over, step == 1 and 16 or 500, math.floor(bytes / (largest + 1))))
  end
  call('SET', from, last)
  return dropped
end
