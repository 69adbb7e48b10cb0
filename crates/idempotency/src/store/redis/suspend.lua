local function step(token, ttl, progress)
    if not record or record.is_free or record.token ~= token or record.phase == COMPLETED then
        return {'lost'}
    end
    if record.phase == WITHDRAWN then
        -- The same owner repeats a call that was done but whose reply was lost.
        return {'done'}
    end
    if #progress <= #bytes - record.left_from then
        progress = left()
    end
    local expires_at = later(now, ttl)
    local attempt, fingerprint = record.attempt, record.fingerprint
    local value = write(WITHDRAWN, attempt, expires_at, now, token, fingerprint, record.spent, record.origin, progress)
    replace(value, expires_at)
    wake()
    return {'done'}
end
