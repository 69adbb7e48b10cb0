
-- The end of every script: takes the step for each key. Steps that go together have equally many arguments.
--
-- A command that fails ends the script, after the steps before it were taken. Then each goes alone, and is recognised as
-- taken.
local MAX_TOGETHER = 1048576
local replies, width, total = {}, #ARGV / #KEYS, 0
for index = 1, #KEYS do
    key = KEYS[index]
    local is_full = #KEYS > 1 and total > MAX_TOGETHER
    -- An error if the key is not a string. Nothing more is read once the replies are too long together.
    bytes = not is_full and redis.pcall('GET', key)
    local is_error = type(bytes) == 'table'
    if is_error and #KEYS == 1 then
        return bytes
    end
    total = total + (bytes and not is_error and #bytes or 0)
    if is_error or is_full or #KEYS > 1 and total > MAX_TOGETHER then
        -- It has an error of its own, or the replies would be too long together.
        replies[index] = {'alone'}
    else
        local first = (index - 1) * width + 1
        replies[index] = read() or step(unpack(ARGV, first, first + width - 1))
    end
end
return replies
