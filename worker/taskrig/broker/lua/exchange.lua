#!lua flags=allow-oom
-- exchange.lua: one turn of a worker. Renew its lease, settle what ended, claim what fits.
--
-- KEYS  1 queue LIST       2 inflight HASH   3 meta HASH        4 workers ZSET
--       5 control HASH     6 arrivals LIST   7 redeliver LIST   8 dead STREAM
--       9 dead_index LIST 10 stats HASH     11 paused STRING   12 alone STRING
--      13 delayed ZSET   14 held SET, and LIST <held>:<name> for a held type
--      15 marks HASH, and for unique types HASH <prefix>unique:<name>, ZSET <prefix>barriers:<name>
--      16 dead_from STRING (see lib/trim_dead.lua)   17 requeued HASH (see dead_move.lua)
--      and, where the queue has several lists, for each in order: its arrivals LIST, the LIST
--      and, for tasks that leave something behind, the keys that lib/leaves.lua names
--      and, for tasks with a run id, LIST <run prefix><run> (same slot)
-- ARGV  1 worker id         2 lease, ms          3 want: most tasks to claim
--       4 number of the first new tag            5 tasks that stay in the worker's hands
--       6 side to pop: right|left                7 most bytes of an item
--       8 most bytes to claim                    9 max deliveries
--      10 dead letters kept, without invalid items   11 invalid items kept   12 bytes of those
--      13 run key prefix     14 "1": tell the position
--      15 "1": settle one by one, to know which were missing
--      16 of a claim of `want`, the shares of the lists, parted by spaces ("": strict order)
--      17 n: plain successes, then n tags; then settlements of nine each:
--         outcome, tag, type, reason, error, run, record, traceback ("": none); where the outcome is
--         retried, reason is the ms to wait, where it is delayed, the Unix ms to wait for; where it
--         is held, type is the name of the held list and reason the end to put it to: front|back
--         each with a ninth, n: what it leaves behind, see lib/leaves.lua, in n more; the outcome
--         "running" settles nothing, and only tells the state of a task that is tracked
-- Returns { why, gap, more, alone, missing tags, too large {size, start}...,
--           counts {index, deliveries, attempts}..., raw items..., tags to cancel..., ms until the next
--           delayed one is due (-1: none, or nothing was to be claimed), TIME in ms,
--           position: how many had left the queue before these, at least; 0: not asked for,
--           { index, Unix ms at which it was requeued }...,
--           and, where there are any, groups whose members ended and could not be counted... }
--   why: "" | paused | drain | alone (an entry on its last delivery waits for this worker to be
--   idle); gap: 1 when the lease had lapsed; more: 1 when the byte bound ended the claim.
-- Cost  O(settled + claimed); bounded by want and by the bytes.
--
-- Safe when it breaks in the middle: a task is copied before it is removed, so an error leaves
-- it in two places and never in none.

local queue, inflight, meta, workers = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local redeliver, dead, index, stats = KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local delayed, held, marks = KEYS[13], KEYS[14], KEYS[15]
local prefix = string.sub(marks, 1, -6)
local id, lease, want = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local first, hands = tonumber(ARGV[4]), tonumber(ARGV[5])
local from_right = ARGV[6] == 'right'
local max_item, max_bytes, max_deliveries = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local one_by_one = ARGV[15] == '1'
local FIXED = 17  -- keys that every queue has; those of several lists come after them
local several = #KEYS > FIXED
local call = redis.call

-- @include lib/now.lua
local stamp = string.format('%s.%06d', time[1], tonumber(time[2]))

-- Renew first: claiming without a live lease is impossible.
local had = call('ZSCORE', workers, id)
local gap = (not had or tonumber(had) < now) and 1 or 0
call('ZADD', workers, string.format('%.0f', now + lease), id)

-- Settle ---------------------------------------------------------------------------------------
local has_meta = call('EXISTS', meta) == 1
local there = call('EXISTS', marks, KEYS[17])
local has_marks = there > 0 and call('EXISTS', marks) == 1
local has_requeued = there == 2 or there == 1 and not has_marks
local missing, totals, buried, buried_invalid = {}, {}, 0, 0
local function count(name, n) totals[name] = (totals[name] or 0) + n end

-- @include lib/position.lua
-- @include lib/entry.lua
-- @include lib/mark.lua
-- @include lib/dead_letter.lua
-- @include lib/trim_dead.lua
-- @include lib/group.lua
-- @include lib/leaves.lua
local function position() return position_of(stats, totals) end

-- A unique task in flight has ended: all that waits now was pushed before. Or it goes back to the
-- queue as if it had never been claimed.
local function unmark(tag, mark, goes_back)
  local waiting = not goes_back and call('LLEN', queue) + call('LLEN', KEYS[6])
  lift_mark(marks, tag, mark, waiting and position() + waiting)
end

local function unmark_ended(at, to)
  for i, mark in ipairs(call('HMGET', marks, unpack(ARGV, at, to))) do
    local tag = ARGV[at + i - 1]
    if mark and call('HEXISTS', inflight, tag) == 1 then unmark(tag, mark) end
  end
end

-- A unique task that waited elsewhere was claimed again: its mark follows it.
local function pass_mark(old, new)
  local mark = call('HGET', marks, old)
  if not mark then return end
  local ids, _, task = split_mark(prefix, mark)
  call('HSET', marks, new, mark)
  redis.pcall('HSET', ids, task, new)
  call('HDEL', marks, old)
end

local function remove(tag)
  if has_meta then call('HDEL', meta, tag) end
  return call('HDEL', inflight, tag)
end

local function counts_of(tag) return parse_counts(has_meta and call('HGET', meta, tag)) end

local function bury(raw, outcome, type, reason, error, deliveries, attempts, traceback, task)
  if outcome == 'invalid' then call('LLEN', index) end  -- a wrong type shows before the copy
  local entry = add_dead_letter(dead, { raw = raw, outcome = outcome, reason = reason, error = error,
    type = type, deliveries = deliveries, attempts = attempts, worker = id, time = stamp,
    traceback = traceback, id = task })
  if outcome == 'invalid' then
    call('RPUSH', index, entry .. ' ' .. #raw)
    call('HINCRBY', stats, 'invalid_kept_bytes', #raw)
    buried_invalid = buried_invalid + 1
  else
    buried = buried + 1
  end
end

-- Lists and totals that cannot be written show before the first of several writes.
local function settle_one(at, left)
  local outcome, tag, ended = ARGV[at], ARGV[at + 1], true
  local raw = call('HGET', inflight, tag)
  if not raw then return false end
  local deliveries, attempts, since = counts_of(tag)
  if left then check_lists(left) end
  local final = outcome == 'succeeded' or outcome == 'failed' or outcome == 'dead'
  local member = final and left and left.group and membership(left, outcome)
  local goes_back = false
  if outcome == 'released' then
    -- Which of several lists it came from is not known: then it goes before them all.
    goes_back = deliveries == 0 and attempts == 0 and since == '' and not several
    ended = goes_back
    if goes_back then
      count('recounted', 1)
      call(from_right and 'RPUSH' or 'LPUSH', queue, raw)
    else
      local entry = entry_of(tag, deliveries, attempts, since, raw)
      put_to_redeliver(redeliver, entry, deliveries, max_deliveries)
    end
  elseif outcome == 'retried' then
    ended = false
    call('ZADD', delayed, string.format('%.0f', now + tonumber(ARGV[at + 3])),
      entry_of(tag, deliveries, attempts + 1, since, raw))
  elseif outcome == 'delayed' then
    ended = false
    call('ZADD', delayed, ARGV[at + 3], entry_of(tag, deliveries, attempts, since, raw))
  elseif outcome == 'held' then
    ended = false
    local entry = entry_of(tag, deliveries, attempts, since, raw)
    call('SADD', held, ARGV[at + 2])
    local put = redis.pcall(ARGV[at + 3] == 'front' and 'RPUSH' or 'LPUSH',
      held .. ':' .. ARGV[at + 2], entry)
    -- Where that key is no list (look.lua names it), it waits for a while among the delayed.
    if type(put) == 'table' then
      call('ZADD', delayed, string.format('%.0f', now + 5000), entry)
    end
  elseif outcome ~= 'succeeded' then
    if outcome == 'invalid' then count('recounted', 1) end
    local this_one = ARGV[at + 3] == 'poison' and 0 or 1  -- delivery, if it was one
    bury(raw, outcome, ARGV[at + 2], ARGV[at + 3], ARGV[at + 4],
      deliveries + this_one, attempts + 1, ARGV[at + 7], left and left.document and left.task)
  end
  local mark = has_marks and ended and call('HGET', marks, tag)
  if mark then unmark(tag, mark, goes_back) end
  if left then
    keep_leaves(left, ended and not goes_back)
    if member then count_member(left, member) end
    push_follow_ups(left)  -- when its own mark is lifted, or one with its id would be a duplicate
  end
  remove(tag)
  return true
end

local function settle()
  local plain = tonumber(ARGV[17])
  local at, last = 18, 17 + plain
  while at <= last do
    local to = math.min(at + 999, last)
    if has_marks then unmark_ended(at, to) end
    if one_by_one or gap == 1 then
      for i = at, to do
        if remove(ARGV[i]) == 1 then count('succeeded', 1) else missing[#missing + 1] = ARGV[i] end
      end
    else
      if has_meta then call('HDEL', meta, unpack(ARGV, at, to)) end
      local removed = call('HDEL', inflight, unpack(ARGV, at, to))
      count('succeeded', removed)
      for _ = removed + 1, to - at + 1 do missing[#missing + 1] = '' end
    end
    at = to + 1
  end

  local records, i = {}, last + 1
  while i <= #ARGV do
    local outcome, tag, run, left = ARGV[i], ARGV[i + 1], ARGV[i + 5], leaves_at(i + 8)
    if outcome == 'running' then
      if call('HEXISTS', inflight, tag) == 1 then tell_state(left, 'running') end
    else
      local found
      if outcome == 'succeeded' and not left then
        if has_marks then unmark_ended(i + 1, i + 1) end
        found = remove(tag) == 1
      else
        found = settle_one(i, left)
      end
      if found then count(outcome, 1) else missing[#missing + 1] = tag end
      if run ~= '' then
        records[run] = records[run] or {}
        table.insert(records[run], ARGV[i + 6] .. (found and ' 0 ' or ' 1 ') .. stamp)
      end
    end
    i = i + 9 + tonumber(ARGV[i + 8])
  end

  for run, lines in pairs(records) do
    local key = ARGV[13] .. run
    -- A key of that name with another type costs the records, never the settlements.
    for i = 1, #lines, 1000 do
      redis.pcall('RPUSH', key, unpack(lines, i, math.min(i + 999, #lines)))
    end
    redis.pcall('LTRIM', key, -1000000, -1)
    redis.pcall('EXPIRE', key, 3600)
  end
end

-- Claim ----------------------------------------------------------------------------------------
local why, more, alone = '', 0, 0
local too_large, counts, items, requeues = {}, {}, {}, {}
local bytes = 0

-- What operators ask of this worker: "drain", "cancel:<number>"... A cancel stands until its task
-- has left in flight, so that an ask survives a reply that is lost.
local asked, cancel = call('HGET', KEYS[5], id), {}
if asked then
  local open = {}
  for word in string.gmatch(asked, '%S+') do
    local number = string.match(word, '^cancel:(%d+)$')
    if not number then
      open[#open + 1] = word
    elseif call('HEXISTS', inflight, id .. ':' .. number) == 1 then
      open[#open + 1] = word
      cancel[#cancel + 1] = id .. ':' .. number
    end
    if word == 'drain' then why, want = 'drain', 0 end
  end
  local kept = table.concat(open, ' ')
  if kept == '' then call('HDEL', KEYS[5], id)
  elseif kept ~= asked then call('HSET', KEYS[5], id, kept) end
end
if want > 0 and call('EXISTS', KEYS[11]) == 1 then
  why, want = 'paused', 0
end

-- Unix ms of its requeue, where an item with these bytes was requeued and not yet claimed.
local function claim_requeued(raw)
  local name = string.sub(redis.sha1hex(raw), 1, 16)
  local copies, since = string.match(call('HGET', KEYS[17], name) or '', '^(%d+):(%d+)$')
  if not copies then return end
  if tonumber(copies) > 1 then
    call('HSET', KEYS[17], name, copies - 1 .. ':' .. since)
  else
    call('HDEL', KEYS[17], name)
  end
  return since
end

local function bury_unread(raw, deliveries, attempts)
  bury(raw, 'invalid', '', 'too_large', '', deliveries, attempts)
  count('invalid', 1)
  too_large[#too_large + 1] = { #raw, string.sub(raw, 1, 64) }
end

-- Copy up to n items of one end of a list into in flight, then remove them from the list.
local function take(list, right, n)
  local step = 1
  while n > 0 and more == 0 do
    local size = math.min(n, step)
    local chunk = right and call('LRANGE', list, -size, -1) or call('LRANGE', list, 0, size - 1)
    local got = #chunk
    if got == 0 then return end
    local book = {}
    local largest, taken = 0, 0
    while taken < got and (taken == 0 or bytes < max_bytes) do
      taken = taken + 1
      local raw = right and chunk[got + 1 - taken] or chunk[taken]
      if #raw > max_item then
        bury_unread(raw, 1, 1)
      else
        items[#items + 1] = raw
        book[#book + 1] = id .. ':' .. string.format('%.0f', first + #items - 1)
        book[#book + 1] = raw
        local since = has_requeued and claim_requeued(raw)
        if since then
          call('HSET', meta, book[#book - 1], '0:0:' .. since)
          requeues[#requeues + 1] = { #items, tonumber(since) }
        end
      end
      bytes = bytes + #raw
      largest = math.max(largest, #raw)
    end
    if #book > 0 then call('HSET', inflight, unpack(book)) end
    if right then call('LTRIM', list, 0, -taken - 1) else call('LTRIM', list, taken, -1) end
    n = n - taken
    if bytes >= max_bytes then more = 1 end
    -- Small items go in large steps; the first step looks at one item only.
    step = math.max(1, math.min(step == 1 and 16 or 500, math.floor((max_bytes - bytes) / (largest + 1))))
  end
end

-- The next entry stands on the right.
local function take_redelivered(n)
  while n > 0 and more == 0 do
    local entry = call('LINDEX', redeliver, -1)
    if not entry then return end
    local old, deliveries, attempts, since, item_at = parse_entry(entry)
    local large = #entry - item_at >= max_item  -- it was claimed before under a larger limit
    local last_one = is_last(deliveries, max_deliveries)
    if last_one and not large then
      -- On its last delivery a task runs alone, or its neighbours would die with it. Last ones
      -- stand at the back, so everything here is one. One worker at a time makes room.
      if #items > 0 then return end
      local owner = call('GET', KEYS[12])
      if owner and owner ~= id and tonumber(call('ZSCORE', workers, owner) or 0) >= now then return end
      if hands > 0 then
        call('SET', KEYS[12], id, 'PX', lease)
        why, want = 'alone', 0
        return
      end
      call('DEL', KEYS[12])
      alone = 1
    end
    local raw = string.sub(entry, item_at)
    if large then
      bury_unread(raw, deliveries + 1, attempts + 1)
      local mark = has_marks and old and call('HGET', marks, old)
      if mark then unmark(old, mark) end
    else
      items[#items + 1] = raw
      local tag = id .. ':' .. string.format('%.0f', first + #items - 1)
      local was_requeued = since ~= ''
      call('HSET', meta, tag, deliveries .. ':' .. attempts .. (was_requeued and ':' .. since or ''))
      if was_requeued then requeues[#requeues + 1] = { #items, tonumber(since) } end
      call('HSET', inflight, tag, raw)
      if has_marks and old then pass_mark(old, tag) end
      counts[#counts + 1] = { #items, deliveries, attempts }
    end
    call('RPOP', redeliver)
    count('recounted', 1)
    bytes = bytes + #raw
    if bytes >= max_bytes then more = 1 end
    n = n - 1
    if alone == 1 then
      want = 0
      return
    end
  end
end

-- Move what is due from delayed to the front of redeliver, the earliest to the very front; no more
-- than this exchange may claim. What stands for its last delivery goes to the back.
local due = -1
local function promote()
  local entries, size = {}, 0
  while true do
    local next_one = call('ZRANGE', delayed, #entries, #entries, 'WITHSCORES')
    if #next_one == 0 then break end
    due = math.max(0, math.ceil(tonumber(next_one[2]) - now))
    if due > 0 or #entries >= math.min(want, 100) or size >= max_bytes then break end
    entries[#entries + 1] = next_one[1]
    size, due = size + #next_one[1], -1
  end
  for i = #entries, 1, -1 do
    local _, deliveries = parse_entry(entries[i])
    put_to_redeliver(redeliver, entries[i], deliveries, max_deliveries)
  end
  if #entries > 0 then call('ZREM', delayed, unpack(entries)) end
end

-- Up to n items of one list, what woke somebody first.
local function take_fresh(arrivals, list, n)
  local until_there_are = #items + n
  take(arrivals, true, n)
  take(list, from_right, until_there_are - #items)
end

-- Every list gets its share; what others leave goes to them in order. Where there are shares, a
-- list begins as often as its share says: large items may use up the bytes of a claim.
local function take_by_lists()
  local shares, n, start = {}, (#KEYS - FIXED) / 2, 0
  for share in string.gmatch(ARGV[16], '%d+') do shares[#shares + 1] = tonumber(share) end
  if #shares > 0 then
    local pick = tonumber(time[2]) % tonumber(ARGV[3]) - shares[1]
    while pick >= 0 do
      start = start + 1
      pick = pick - shares[start + 1]
    end
  end
  local function each(amount)
    for i = 0, n - 1 do
      local list = (start + i) % n
      local at = FIXED + 1 + 2 * list
      take_fresh(KEYS[at], KEYS[at + 1], math.min(amount(list + 1), want - #items))
    end
  end
  if #shares > 0 then each(function(list) return shares[list] end) end
  each(function() return want end)
end

local before = 0  -- the position of what is claimed here
local function claim()
  if want > 0 then
    promote()
    local returned = call('LLEN', redeliver)
    if returned > 0 then
      local fresh = call('EXISTS', queue, KEYS[6], unpack(KEYS, FIXED + 1)) > 0
      take_redelivered(fresh and math.ceil(want / 2) or want)
    end
    local again = #items
    if several then take_by_lists() else take_fresh(KEYS[6], queue, want - #items) end
    -- Several lists have no order among them: nothing counts as older than what ended.
    if ARGV[14] == '1' and #items > again then before = several and 2 ^ 53 or position() + again end
    if #items > 0 then count('claimed', #items) end
    -- Requeued items go to this list only: of one that was removed by hand the note is left.
    if has_requeued and call('EXISTS', queue, KEYS[6]) == 0 then call('DEL', KEYS[17]) end
  end
end

-- Totals and bounds ----------------------------------------------------------------------------
-- Of the invalid items the oldest go first. One that is larger than all of them may be is kept
-- until the next one comes.
local function bound_invalid()
  local dropped, left = 0, buried_invalid + 1000
  local kept, size = call('LLEN', index), tonumber(call('HGET', stats, 'invalid_kept_bytes'))
  while left > 0 and (kept > tonumber(ARGV[11]) or kept > 1 and size > tonumber(ARGV[12])) do
    local entry, length = string.match(call('LINDEX', index, 0), '^(%d+%-%d+) (%d+)$')
    if entry then
      dropped = dropped + call('XDEL', dead, entry)
      size = call('HINCRBY', stats, 'invalid_kept_bytes', -length)
    end
    call('LPOP', index)
    kept, left = kept - 1, left - 1
  end
  count('invalid_trimmed', dropped)
  if dropped > 0 then call('HSET', stats, 'invalid_trimmed_at', time[1]) end
  return dropped
end

local function bound()
  if buried + buried_invalid == 0 then return end
  local invalid, dropped = buried_invalid > 0 and bound_invalid() or 0, 0
  if buried > 0 then
    dropped = trim_dead(dead, index, stats, KEYS[16], tonumber(ARGV[10]), tonumber(ARGV[11]), buried)
  end
  if dropped > 0 then call('HSET', stats, 'dead_trimmed_at', time[1]) end
  count('dead_trimmed', invalid + dropped)
end

-- Whatever fails on the way (a key of a wrong type), what was removed is counted. That asks for
-- totals that can be written: try them before anything is removed.
call('HLEN', stats)
local ok, fault = pcall(function()
  settle()
  claim()
  bound()
end)
for name, n in pairs(totals) do
  if n > 0 then call('HINCRBY', stats, name, n) end
end
if not ok then
  return type(fault) == 'table' and fault or redis.error_reply('ERR ' .. tostring(fault))
end

local answer =
  { why, gap, more, alone, missing, too_large, counts, items, cancel, due, now, before, requeues }
if #groups_missing > 0 then answer[#answer + 1] = groups_missing end
return answer
