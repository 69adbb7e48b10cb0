local function step(token, fingerprint, lease, ttl)
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
            local before, origin = record.spent, record.origin
            replace(write(WITHDRAWN, attempt, expires_at, now, token, record.fingerprint, before, origin, progress), expires_at)
        end
        wake()
    elseif record.phase ~= COMPLETED and record.token ~= token then
        -- The claim may yet arrive, perhaps when this run is lost or its key is free.
        local attempt, expires_at, lease_until = record.attempt, record.expires_at, record.lease_until
        local spent, origin, fingerprint = with(record.spent, token), record.origin, record.fingerprint
        replace(write(record.phase, attempt, expires_at, lease_until, record.token, fingerprint, spent, origin, left()), expires_at)
    end
    return {'done'}
end
