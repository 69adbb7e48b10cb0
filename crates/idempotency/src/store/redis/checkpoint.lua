local function step(token, progress)
    if not record or record.phase ~= IN_FLIGHT or record.token ~= token then
        return {'lost'}
    end
    if #progress <= #bytes - record.left_from then
        -- It is outdated and has arrived late.
        return {'done'}
    end
    local attempt, expires_at, lease_until, fingerprint = record.attempt, record.expires_at, record.lease_until, record.fingerprint
    local value = write(IN_FLIGHT, attempt, expires_at, lease_until, token, fingerprint, record.spent, record.origin, progress)
    replace(value, expires_at)
    return {'done'}
end
