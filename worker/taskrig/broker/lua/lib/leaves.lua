-- What a task leaves behind when it is settled: a result, a state, tasks that follow it. The first
-- two by pcall, and only where its
-- key is free or of its own type: a key that is not costs what it would hold, never the settlement.
--
-- ARGV[at] says how many arguments follow; none, or:
--   task id, document of its result as JSON ("": none), seconds for which that is kept,
--   seconds for which its state is kept (0: it is not tracked),
--   the group that it is a member of ("": none), its number there,
--   and of each task that follows it a LIST of the queue and the item
-- Keys of its group: see lib/group.lua. Keys: LIST <prefix>result:<task id>, STRING <prefix>state:<task id>
local function may_be(key, kind)
  local is = redis.call('TYPE', key).ok
  return is == 'none' or is == kind
end

local function leaves_at(at)
  if ARGV[at] == '0' then return nil end
  local document = ARGV[at + 2]
  return { task = ARGV[at + 1], document = document ~= '' and document, ttl = ARGV[at + 3],
    state_ttl = ARGV[at + 4], group = ARGV[at + 5] ~= '' and ARGV[at + 5], member = ARGV[at + 6],
    first = at + 7, last = at + tonumber(ARGV[at]) }
end

-- What its end means for its group, found before anything is written; nil: nothing. A member counts
-- once, also one that was requeued or pushed twice.
local groups_missing = {}
local function membership(left, outcome)
  local state, bits = prefix .. 'group_state:' .. left.group, prefix .. 'group_ended:' .. left.group
  local of, is, good, bad
  if may_be(state, 'hash') and may_be(bits, 'string') then
    of, is, good, bad = unpack(redis.call('HMGET', state, 'of', 'state', 'succeeded', 'failed'))
  end
  local seen = of and tonumber(left.member) < tonumber(of) and redis.pcall('GETBIT', bits, left.member)
  if type(seen) ~= 'number' then
    groups_missing[#groups_missing + 1] = left.group
    return nil
  end
  if is ~= 'open' or seen == 1 then return nil end
  local m = { state = state, bits = bits, number = left.member, good = tonumber(good), bad = tonumber(bad) }
  m.field = outcome == 'succeeded' and 'succeeded' or 'failed'
  if m.field == 'succeeded' then m.good = m.good + 1 else m.bad = m.bad + 1 end
  if m.good + m.bad >= tonumber(of) then
    m.how = m.bad == 0 and 'succeeded' or 'failed'
    m.follow = follow_ups_of(state, m.bad == 0 and 'then' or 'otherwise')
  end
  return m
end

local function count_member(left, m)
  if type(redis.pcall('SETBIT', m.bits, m.number, 1)) == 'table' then return end
  redis.pcall('HINCRBY', m.state, m.field, 1)
  if m.how then
    count('followups', #m.follow)
    end_group(prefix, left.group, m.how, m.follow, m.good, m.bad, from_right)
  end
end

-- A list of a wrong type shows before anything is written, so that nothing can fail between the
-- first push and the removal of the task that is settled.
local function check_lists(left)
  for i = left.first, left.last, 2 do redis.call('LLEN', ARGV[i]) end
end

local function push_follow_ups(left)
  for i = left.first, left.last, 2 do
    redis.call(from_right and 'LPUSH' or 'RPUSH', ARGV[i], ARGV[i + 1])
    count('followups', 1)
  end
end

local function tell_state(left, state)
  local key = prefix .. 'state:' .. left.task
  if left.state_ttl == '0' or not may_be(key, 'string') then return end
  if state then redis.pcall('SET', key, state, 'EX', left.state_ttl) else redis.pcall('DEL', key) end
end

-- A list of one document: whoever waits for it with BLMOVE is woken by the push.
local function keep_leaves(left, ended)
  if ended and left.document then
    local key = prefix .. 'result:' .. left.task
    if may_be(key, 'list') then
      redis.pcall('DEL', key)
      redis.pcall('RPUSH', key, left.document)
      redis.pcall('EXPIRE', key, left.ttl)
    else
      count('results_refused', 1)
    end
  end
  tell_state(left, not ended and 'waiting')
end
