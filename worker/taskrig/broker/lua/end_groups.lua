#!lua flags=allow-oom
-- end_groups.lua: end the groups whose time is over: push their "otherwise".
--
-- KEYS  1 groups ZSET, and for each HASH <prefix>group_state:<name>, STRING <prefix>group_ended:<name>
--         and the LISTs that its tasks go to   2 stats HASH
-- ARGV  1 side to pop: right|left
-- Returns the names of those that ended, at most 20.
-- Cost  O(groups * tasks that follow them).
local call = redis.call
local prefix = string.sub(KEYS[1], 1, -7)
-- @include lib/now.lua
-- @include lib/group.lua
local ended = {}
for _, name in ipairs(call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now), 'LIMIT', 0, 20)) do
  local state = prefix .. 'group_state:' .. name
  local found = redis.pcall('HMGET', state, 'state', 'succeeded', 'failed')
  if found.err or found[1] ~= 'open' then
    call('ZREM', KEYS[1], name)
  else
    local follow = follow_ups_of(state, 'otherwise')
    call('HINCRBY', KEYS[2], 'followups', #follow)
    end_group(prefix, name, 'expired', follow, found[2], found[3], ARGV[1] == 'right')
    ended[#ended + 1] = name
  end
end
return ended
