local function step(token, fingerprint, lease, ttl, on_lost, labels)
    local attempt, spent, origin, progress = 1, '', nil, ''
    if is_spent(token) then
        return {'spent'}
    end
    if record then
        spent = spent_tokens()
    end
    if record and not record.is_free then
        if record.phase == COMPLETED then
            return {'found', bytes, now}
        end
        if record.token == token then
            return {'won', record.attempt, left()}
        end
        if not record.is_lapsed or record.fingerprint ~= fingerprint then
            return {'found', bytes, now}
        end
        if on_lost == 'refuse' then
            return {'unknown'}
        end
        attempt = math.min(record.attempt + 1, MAX_ATTEMPTS)
        origin, progress = record.origin, left()
    end

    local lease_until = later(now, lease)
    local expires_at = later(lease_until, ttl)
    origin = origin or struct.pack('>I8', now) .. labels
    put(write(IN_FLIGHT, attempt, expires_at, lease_until, token, fingerprint, spent, origin, progress), expires_at)
    return {'won', attempt, progress}
end
