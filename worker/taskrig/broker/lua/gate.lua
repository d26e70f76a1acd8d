#!lua flags=allow-oom
-- gate.lua: let claimed tasks of limited types start, or say what they have to wait for; bring
-- held ones back to the queue as far as their limits have room.
--
-- KEYS  1 inflight HASH   2 redeliver LIST   3 held SET of names that have held tasks
--       4 queue LIST      5 arrivals LIST    6 stats HASH   7 marks HASH   8 delayed ZSET
--       (these five only for unique types)
--      and for each name, all in the same slot:
--         <prefix>held:<name> LIST of entries as in redeliver, oldest on the right
--         <prefix>holders:<name> SET of tags that run
--         <prefix>rate:<name> STRING "us tag": when another is due, and which was the last one
--         <prefix>unique:<name> HASH task id -> latest tag of the one that waits or runs
--         <prefix>barriers:<name> ZSET task id -> position up to which claims are of older pushes
-- ARGV  1 prefix   2 max deliveries   4 max bytes of held tasks
--       3 held tasks that this worker could take; -1: its slots are full, 0: it takes none
--       5 n: types, then seven each: name, how many more may start in this worker (-1: any),
--         most holders (0: any), us between two starts (0: any), us of slack, "1": unique,
--         cursor of the look for stale marks ("": do not look)
--       then m: ended tasks, then two each: index of its type, tag
--       then tasks that want to start, five each: index of its type, tag, "0" when it came back,
--         else the position of its claim, what it asks for ("1": only to be marked, for it has to
--         wait elsewhere; "2": it was let through, but has not started in time), task id
-- Returns { verdicts..., { ms until the limits allow another of the held ones (-1: not known),
--           moved, next cursor, key of a wrong type or "", what it is, what it must be }... }
--   verdict: 1 start | 0 hold | 2 another one with its id waits or runs, or ended after this one
--   had been pushed
-- Cost  O(types + ended + starting + moved), and where it looks for stale marks O(holders) and
--       100 ids for each type.
--
-- A holder whose tag is not in flight is stale: its worker died, and the task was reclaimed. So
-- nothing leaks. A unique task is marked when it is first seen here; from then on the scripts that
-- move it keep its mark, and take it away with its settlement (see exchange.lua). What ended left a
-- barrier: positions count what left the queue, and the queue is FIFO, so all that was pushed before
-- is among the next claims, as many as it was long. A position may be too high and never too low:
-- what was pushed after the end never counts as older.
-- A type one of whose keys has a wrong type is held until that is mended; the others go on.
-- Held entries are copied before they are removed. Safe to repeat: a tag that
-- holds already may start; only the rate counts it again.

local call = redis.call
-- @include lib/entry.lua
-- @include lib/position.lua
local inflight, redeliver, held_names = KEYS[1], KEYS[2], KEYS[3]
local queue, arrivals, stats, marks, delayed = KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local SLACK = 10000  -- claims: a worker may ask so much later than it claimed
local prefix, max_deliveries, room, max_bytes =
  ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
-- Where other tasks fill the slots, one of each type comes back all the same: redeliver goes before
-- the queue, so it gets the next slot. No more than one, or they would pile up there.
local one_each = room ~= 0 and call('LLEN', redeliver) == 0 and 1 or 0
room = math.max(room, 0)
local time = call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])

local types, at = {}, 6
for _ = 1, tonumber(ARGV[5]) do
  local name = ARGV[at]
  types[#types + 1] = {
    name = name, here = tonumber(ARGV[at + 1]), total = tonumber(ARGV[at + 2]),
    every = tonumber(ARGV[at + 3]), slack = tonumber(ARGV[at + 4]), unique = ARGV[at + 5] == '1',
    cursor = ARGV[at + 6], held_key = prefix .. 'held:' .. name,
    holders = prefix .. 'holders:' .. name, rate = prefix .. 'rate:' .. name,
    ids = prefix .. 'unique:' .. name, barriers = prefix .. 'barriers:' .. name,
    blocked = 0, moved = 0, wait = -1,
  }
  at = at + 7
end

-- The first key of a type that is not what it must be: found before anything is written.
local function find_wrong(t)
  local must = { { t.held_key, 'list' } }
  if t.total > 0 then must[#must + 1] = { t.holders, 'set' } end
  if t.every > 0 then must[#must + 1] = { t.rate, 'string' } end
  if t.unique then
    must[#must + 1] = { t.ids, 'hash' }
    must[#must + 1] = { t.barriers, 'zset' }
  end
  for _, one in ipairs(must) do
    local is = call('TYPE', one[1]).ok
    if is ~= 'none' and is ~= one[2] then return { one[1], is, one[2] } end
  end
end

for _, t in ipairs(types) do t.wrong = find_wrong(t) end

local position  -- how many have left the queue so far, at least; read once, for unique types only
local function claimed_so_far()
  position = position or position_of(stats, {})
  return position
end

-- Drop barriers that every claim has passed, and those that cannot be true any more: somebody
-- else took from the queue.
local function clear_barriers(t)
  local last = claimed_so_far() + call('LLEN', queue) + call('LLEN', arrivals)
  for _, range in ipairs({ { '-inf', '(' .. claimed_so_far() - SLACK }, { '(' .. last, '+inf' } }) do
    local ids = call('ZRANGEBYSCORE', t.barriers, range[1], range[2], 'LIMIT', 0, 1000)
    if #ids > 0 then call('ZREM', t.barriers, unpack(ids)) end
  end
end

-- Ended tasks hold nothing any more.
local ended = tonumber(ARGV[at])
at = at + 1
for _ = 1, ended do
  local t = types[tonumber(ARGV[at])]
  if t.total > 0 and not t.wrong then call('SREM', t.holders, ARGV[at + 1]) end
  at = at + 2
end

local elsewhere  -- how many tasks wait elsewhere than in the queue; counted once, where marks ask
local function wait_elsewhere()
  if not elsewhere then
    elsewhere = call('LLEN', redeliver) + call('ZCARD', delayed)
    for _, name in ipairs(call('SMEMBERS', held_names)) do
      local length = redis.pcall('LLEN', prefix .. 'held:' .. name)
      elsewhere = elsewhere + (type(length) == 'number' and length or 1)
    end
  end
  return elsewhere
end

local function look_for_stale(t)
  if t.total > 0 then
    for _, tag in ipairs(call('SMEMBERS', t.holders)) do
      if call('HEXISTS', inflight, tag) == 0 then call('SREM', t.holders, tag) end
    end
  end
  if not t.unique then return end
  local slice = call('HSCAN', t.ids, t.cursor, 'COUNT', 100)
  t.cursor = slice[1]
  for i = 1, #slice[2], 2 do
    local id, tag = slice[2][i], slice[2][i + 1]
    local lost = call('HEXISTS', inflight, tag) == 0 and wait_elsewhere() == 0
    if lost then call('HDEL', marks, tag) end  -- removed by hand
    if lost or call('HEXISTS', marks, tag) == 0 then call('HDEL', t.ids, id) end
  end
end

local function read(t)
  if t.unique then clear_barriers(t) end
  if t.cursor ~= '' then look_for_stale(t) end
  t.held = call('LLEN', t.held_key)
  t.holding = t.total > 0 and call('SCARD', t.holders) or 0
  if t.every > 0 then
    local due, tag = string.match(call('GET', t.rate) or '', '^(%S+) ?(.*)$')
    due = tonumber(due) or 0
    -- Later than any start would make it: the rate was smaller then, or the clock was set back.
    if due > now_us + t.every + t.slack + 1000000 then due = now_us end
    t.next_us, t.last = due - t.slack, tag
  end
end
for _, t in ipairs(types) do
  if not t.wrong then read(t) end
end

-- Whether a task has its id, from now on at least: not while another one with it waits or runs, and
-- not when it was claimed at a position of those that were pushed before the last one ended.
local function has_id(t, tag, claimed_at, id)
  local mark = call('HGET', t.ids, id)
  if mark == tag then return true end
  if mark and call('HEXISTS', marks, mark) == 1 then return false end
  local barrier = claimed_at > 0 and call('ZSCORE', t.barriers, id)
  if barrier and claimed_at <= tonumber(barrier) then return false end
  call('HSET', marks, tag, t.name .. ' ' .. id)
  call('HSET', t.ids, id, tag)
  return true
end

local function may_start(t, tag, fresh)
  if fresh and t.held > 0 then return false end  -- those that wait longer go first
  if t.here == 0 then return false end
  if t.total > 0 and t.holding >= t.total and call('SISMEMBER', t.holders, tag) == 0 then
    return false
  end
  return t.every == 0 or now_us >= t.next_us
end

-- Whether it was let through, and no other one since: then its later start is the one that counts.
local function was_last(t, tag, asks_for)
  return asks_for == '2' and t.every > 0 and t.last == tag
end

local verdicts = {}
for i = at, #ARGV, 5 do
  local t, tag, claimed_at = types[tonumber(ARGV[i])], ARGV[i + 1], tonumber(ARGV[i + 2])
  local asks_for, id = ARGV[i + 3], ARGV[i + 4]
  local marked = t.unique and id ~= ''
  if t.wrong or marked and call('HEXISTS', inflight, tag) == 0 then
    verdicts[#verdicts + 1] = 0  -- or its claim is lost: the mark is another delivery's
    room = room + 1
  elseif marked and not has_id(t, tag, claimed_at, id) then
    verdicts[#verdicts + 1] = 2
    room = room + 1
  elseif asks_for == '1' then
    verdicts[#verdicts + 1] = 0
    room = room + 1
  elseif was_last(t, tag, asks_for) or may_start(t, tag, claimed_at > 0) then
    if t.total > 0 then t.holding = t.holding + call('SADD', t.holders, tag) end
    if t.every > 0 then
      local from = was_last(t, tag, asks_for) and now_us or math.max(t.next_us + t.slack, now_us)
      local after = from + t.every
      call('SET', t.rate, string.format('%.3f %s', after, tag), 'PX',
        string.format('%.0f', math.ceil((after - now_us) / 1000) + 1000))
      t.next_us, t.last = after - t.slack, tag
    end
    if t.here > 0 then t.here = t.here - 1 end
    verdicts[#verdicts + 1] = 1
  else
    if asks_for == '2' and t.total > 0 then t.holding = t.holding - call('SREM', t.holders, tag) end
    t.blocked = t.blocked + 1
    verdicts[#verdicts + 1] = 0
    room = room + 1
  end
end

-- Bring back the oldest held entries, the oldest to the very front.
local function bring_back(t, n)
  local entries = {}
  while #entries < n and max_bytes > 0 do
    local entry = call('LINDEX', t.held_key, -1 - #entries)
    if not entry then break end
    entries[#entries + 1] = entry
    max_bytes = max_bytes - #entry
  end
  for i = #entries, 1, -1 do
    local _, deliveries = parse_entry(entries[i])
    put_to_redeliver(redeliver, entries[i], deliveries, max_deliveries)
  end
  if #entries > 0 then call('LTRIM', t.held_key, 0, -1 - #entries) end
  return #entries
end

local function bring_back_what_fits(t)
  local n = t.held
  if t.here >= 0 then n = math.min(n, t.here) end
  if t.total > 0 then n = math.min(n, t.total - t.holding) end
  local by_rate = math.huge
  if t.every > 0 then
    by_rate = 1 + math.floor(math.min(now_us - t.next_us, t.slack) / t.every)
    if now_us < t.next_us then by_rate = 0 end
    n = math.min(n, by_rate)
  end
  local fits = math.min(n, 100, math.max(room, one_each))
  if fits > 0 then
    t.moved = bring_back(t, fits)
    room = room - t.moved
    if t.moved == t.held then call('SREM', held_names, t.name) end
  end
  if t.moved < n then
    t.wait = 0
  elseif t.every > 0 and by_rate <= t.moved and t.held - t.moved + t.blocked > 0 then
    t.wait = math.max(1, math.ceil((t.next_us + t.moved * t.every - now_us) / 1000))
  end
end

local answer = { verdicts }
for _, t in ipairs(types) do
  if not t.wrong then bring_back_what_fits(t) end
  answer[#answer + 1] = { t.wait, t.moved, t.cursor, unpack(t.wrong or { '', '', '' }) }
end
return answer
