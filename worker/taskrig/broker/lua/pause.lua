#!lua flags=allow-oom
-- pause.lua: claim nothing from now on. A script, so that a full server can be paused too.
--
-- KEYS  1 paused STRING "Unix s why"
-- ARGV  1 why, a short text   2 ms after which it ends by itself ("": not)
-- Returns 1, or 0 when it was paused already (when and why stay as they were).
-- Cost  O(1).
local time = redis.call('TIME')
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('SET', KEYS[1], time[1] .. ' ' .. ARGV[1])
if ARGV[2] ~= '' then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 1
