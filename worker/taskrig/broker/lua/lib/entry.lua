-- An entry: a task that was claimed before and waits elsewhere than in the queue, with its counts.
-- It stands in redeliver, in delayed and in held lists as "tag:deliveries:attempts|raw"; one that
-- was requeued from the dead letters carries when, in Unix ms: "ms/tag:deliveries:attempts|raw".

local function entry_of(tag, deliveries, attempts, since, raw)
  local head = since == '' and tag or since .. '/' .. tag
  return head .. ':' .. deliveries .. ':' .. attempts .. '|' .. raw
end

-- Its tag, counts, since ("" where it was not requeued), and where the item begins. Of what is no
-- entry all is the item: no tag.
local function parse_entry(entry)
  local bar = string.find(entry, '|', 1, true) or 0
  local tag, deliveries, attempts =
    string.match(string.sub(entry, 1, bar - 1), '^(.*):(%d+):(%d+)$')
  if not tag then return nil, 0, 0, '', 1 end
  local since, its_tag = string.match(tag, '^(%d+)/(.*)$')
  return its_tag or tag, tonumber(deliveries), tonumber(attempts), since or '', bar + 1
end

-- What meta holds of a tag, false where it holds nothing: deliveries, attempts, since.
local function parse_counts(found)
  local deliveries, attempts, since = string.match(found or '', '^(%d+):(%d+):?(%d*)$')
  return tonumber(deliveries) or 0, tonumber(attempts) or 0, since or ''
end

-- On its last delivery a task runs alone, or its neighbours would die with it. With none left it does
-- not run: the worker that claims it settles it as dead.
local function is_last(deliveries, max_deliveries)
  return deliveries > 0 and deliveries + 1 == max_deliveries
end

-- The next of redeliver stands on the right. Last deliveries stand at the back.
local function put_to_redeliver(redeliver, entry, deliveries, max_deliveries)
  redis.call(is_last(deliveries, max_deliveries) and 'LPUSH' or 'RPUSH', redeliver, entry)
end
