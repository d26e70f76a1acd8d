#!lua flags=allow-oom
-- reclaim.lua: one slice of a scan of in flight. A tag whose worker holds no live lease is an
-- orphan and goes back to be run again; so is a tag of the caller that it does not know.
--
-- KEYS  1 inflight HASH    2 meta HASH   3 workers ZSET   4 redeliver LIST
--       5 stats HASH      6 reclaiming STRING   7 about HASH
-- ARGV  1 worker id        2 cursor      3 count for HSCAN   4 max deliveries
--       5 ms for which this scanner keeps the others out; 0: look at own tags only, take no lock
--       6 number below which the caller knows all its tags
--       7 Unix ms that the caller expects of TIME (0: it does not know)   8 how far it may be off
--       9 ms for which the caller has seen no step of this clock (0: it does not know)
--      10.. tags that the caller does know
-- Returns { state, cursor, moved, seen, bytes, now }
--   state: "" | busy (another scans) | refused (the caller's own lease is not live)
--          | stepped (TIME is not what the caller expects)
-- Cost  O(count + bytes of the slice); the caller sizes the slices.
--
-- One with no delivery left goes back too: the worker that claims it decodes it, and settles it as
-- dead without a run. So whatever ends is settled by exchange.lua, which knows what it leaves behind.
-- Each slice reads TIME and the leases itself, so a worker that came back keeps its tasks.
-- When the clock has been set, leases say nothing until every live worker has renewed: such a slice
-- moves nothing. An orphan is copied before it is removed.

local id, own_only = ARGV[1], ARGV[5] == '0'
local call = redis.call
-- @include lib/now.lua
-- @include lib/entry.lua

local function lives(worker)
  local deadline = call('ZSCORE', KEYS[3], worker)
  return deadline and tonumber(deadline) >= now or false
end

-- A lease that ends later than its own length from now was given before the clock was set back, to
-- a worker that has not renewed it since: it is over. Only where the caller has watched the clock
-- for that long: whoever lives has renewed by then. Who tells no length is left alone.
local function end_impossible(steady)
  -- The caller has just renewed, so of the same length only such leases end much later than its own.
  local later = tonumber(call('ZSCORE', KEYS[3], id)) + 1000
  local far = call('ZRANGEBYSCORE', KEYS[3], string.format('%.0f', later), '+inf', 'WITHSCORES',
    'LIMIT', 0, 1000)
  for i = 1, #far, 2 do
    local told, about = pcall(cjson.decode, call('HGET', KEYS[7], far[i]) or '')
    local length = 1000 * (told and type(about) == 'table' and tonumber(about.lease) or math.huge)
    if length <= steady and tonumber(far[i + 1]) > now + length + 1000 then
      call('ZADD', KEYS[3], string.format('%.0f', now - 1), far[i])
    end
  end
end

local function nothing(state)
  return { state, '0', 0, 0, 0, string.format('%.0f', now) }
end

if not lives(id) then return nothing('refused') end
local expected = tonumber(ARGV[7])
if expected > 0 and math.abs(now - expected) > tonumber(ARGV[8]) then return nothing('stepped') end
if not own_only then
  if ARGV[2] == '0' and tonumber(ARGV[9]) > 0 then end_impossible(tonumber(ARGV[9])) end
  local owner = call('GET', KEYS[6])
  if owner and owner ~= id and lives(owner) then return nothing('busy') end
  call('SET', KEYS[6], id, 'PX', ARGV[5])
end

local known = {}
for i = 10, #ARGV do known[ARGV[i]] = true end
local below = tonumber(ARGV[6])
local alive = { [id] = true }

local slice = call('HSCAN', KEYS[1], ARGV[2], 'COUNT', ARGV[3])
local found, orphans, bytes = slice[2], {}, 0
for i = 1, #found, 2 do
  local tag, raw = found[i], found[i + 1]
  bytes = bytes + #raw
  local colon = string.find(tag, ':', 1, true) or 1
  local worker, n = string.sub(tag, 1, colon - 1), tonumber(string.sub(tag, colon + 1)) or 0
  if worker == id then
    if n < below and not known[tag] then orphans[#orphans + 1] = { tag, raw, n, 0 } end
  elseif not own_only then
    if alive[worker] == nil then alive[worker] = lives(worker) end
    if not alive[worker] then orphans[#orphans + 1] = { tag, raw, n, 1 } end
  end
end

-- Newest first: each goes to the front, so the oldest ends there.
table.sort(orphans, function(a, b) return a[3] > b[3] end)
call('HLEN', KEYS[5])  -- totals that cannot be written show before anything is removed
local max = tonumber(ARGV[4])
for _, orphan in ipairs(orphans) do
  local tag, raw = orphan[1], orphan[2]
  local deliveries, attempts, since = parse_counts(call('HGET', KEYS[2], tag))
  deliveries = deliveries + orphan[4]
  local entry = entry_of(tag, deliveries, attempts, since, raw)
  put_to_redeliver(KEYS[4], entry, deliveries, max)
  call('HDEL', KEYS[1], tag)
  call('HDEL', KEYS[2], tag)
end
if #orphans > 0 then call('HINCRBY', KEYS[5], 'reclaimed', #orphans) end
return { '', slice[1], #orphans, #found / 2, bytes, string.format('%.0f', now) }
