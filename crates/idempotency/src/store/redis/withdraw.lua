local token, fingerprint, lease, ttl, on_lost = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

if is_spent(token) then
    return {'done'}
end
if not record or record.is_free then
    free(token, fingerprint, later(later(now, lease), ttl))
elseif record.token == token and record.phase == IN_FLIGHT then
    local progress = left()
    if record.attempt == 1 and progress == '' then
        free(token, record.fingerprint, later(later(now, lease), ttl))
    else
        local attempt, expires_at = math.max(record.attempt - 1, 1), later(now, ttl)
        replace(write(WITHDRAWN, attempt, expires_at, now, token, record.fingerprint, progress), expires_at)
    end
    wake()
elseif record.phase == WITHDRAWN and record.fingerprint == fingerprint and on_lost ~= 'refuse' then
    -- The claim is yet to come and would take the key over, so it finds that its token has. A run whose lease has lapsed may
    -- be late only: its owner may end it still, so it is left alone.
    local attempt, expires_at, lease_until = record.attempt, record.expires_at, record.lease_until
    replace(write(WITHDRAWN, attempt, expires_at, lease_until, token, fingerprint, left()), expires_at)
end
return {'done'}
