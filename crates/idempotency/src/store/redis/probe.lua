-- Says which of the commands that the steps run this user may not run, or the server does not. Nothing is changed: there is
-- nothing under the key that is written to, and SET is told to replace only.
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
