-- Reports which of the steps' commands this user may not run, or the server does not support. Nothing is changed: there
-- is nothing under the key that is written, and SET is told to replace only.
local KEY = 'idempotency: rights'

local function refusal(...)
    local reply = redis.pcall(...)
    return type(reply) == 'table' and reply.err or ''
end

return {
    'TIME', refusal('TIME'),
    'GET', refusal('GET', KEY),
    'SET', refusal('SET', KEY, '', 'XX', 'PXAT', '1'),
    'PEXPIREAT', refusal('PEXPIREAT', KEY, '1'),
}
