-- type_of.lua: what the scripts that look at dead letters include: the type of one, from its fields.
-- A poison letter of an older worker was buried undecoded: its type is read from the item. What is larger than 1 MiB
-- is not read, so that Redis is held for some milliseconds at most.
local function type_of(fields)
  local known, raw = fields['type'] or '', fields['raw'] or ''
  if known ~= '' or fields['outcome'] == 'invalid' or #raw > 1048576 then return known end
  local ok, item = pcall(cjson.decode, raw)
  local found = ok and type(item) == 'table' and item['type']
  return type(found) == 'string' and #found <= 256 and found or ''
end
