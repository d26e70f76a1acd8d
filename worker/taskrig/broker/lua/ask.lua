#!lua flags=allow-oom
-- ask.lua: ask one worker to drain, or to cancel one task. Its next exchange sees it.
--
-- KEYS  1 workers ZSET   2 control HASH   3 inflight HASH
-- ARGV  1 worker id      2 what is asked: drain | cancel:<number of the tag>
-- Returns "" | already | no_worker (no live lease) | not_in_flight | too_many (asks waiting)
-- Cost  O(log workers).
--
-- The worker's asks stand in one field, parted by spaces. A cancel stays there until its tag has
-- left in flight (see exchange.lua), so a reply that is lost on the wire loses no ask.
local call = redis.call
local id, word = ARGV[1], ARGV[2]
local time = call('TIME')
local deadline = call('ZSCORE', KEYS[1], id)
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if not deadline or tonumber(deadline) < now then return 'no_worker' end
local number = string.match(word, '^cancel:(%d+)$')
if number and call('HEXISTS', KEYS[3], id .. ':' .. number) == 0 then return 'not_in_flight' end
local asked = call('HGET', KEYS[2], id) or ''
for one in string.gmatch(asked, '%S+') do
  if one == word then return 'already' end
end
if #asked > 4096 then return 'too_many' end
call('HSET', KEYS[2], id, asked == '' and word or asked .. ' ' .. word)
return ''
