-- The server's clock: `time` as TIME tells it, `now` in Unix ms.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
