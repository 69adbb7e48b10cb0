local function step(token, lease, ttl)
    if not record or record.phase ~= IN_FLIGHT or record.token ~= token then
        return {'lost'}
    end
    local lease_until = later(now, lease)
    local expires_at = later(lease_until, ttl)
    local attempt, fingerprint = record.attempt, record.fingerprint
    local value = write(IN_FLIGHT, attempt, expires_at, lease_until, token, fingerprint, record.spent, record.origin, left())
    replace(value, expires_at)
    return {'done'}
end
