-- A dead letter's fields, as people and programs read them; `traceback` only where there is one, `id` only where a
-- result is kept under it.
local function add_dead_letter(dead, letter)
  local fields = {}
  for _, name in ipairs({ 'raw', 'outcome', 'reason', 'error', 'type', 'deliveries', 'attempts',
    'worker', 'time', 'traceback', 'id' }) do
    local value = letter[name]
    if value and (name ~= 'traceback' or value ~= '') then
      fields[#fields + 1] = name
      fields[#fields + 1] = value
    end
  end
  return redis.call('XADD', dead, '*', unpack(fields))
end
