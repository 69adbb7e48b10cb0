local token, fingerprint, lease, ttl, on_lost = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

local attempt, spent, progress = 1, '', ''
if is_spent(token) then
    return {'spent'}
end
if record then
    spent = spent_tokens()
end
if record and not record.is_free then
    if record.phase == COMPLETED then
        return {'found', bytes}
    end
    if record.token == token then
        return {'won', record.attempt, left()}
    end
    if not record.is_lapsed or record.fingerprint ~= fingerprint then
        return {'found', bytes}
    end
    if on_lost == 'refuse' then
        return {'unknown'}
    end
    attempt = math.min(record.attempt + 1, MOST_ATTEMPTS)
    progress = left()
end

local lease_until = later(now, lease)
local expires_at = later(lease_until, ttl)
put(write(IN_FLIGHT, attempt, expires_at, lease_until, token, fingerprint, spent, progress), expires_at)
return {'won', attempt, progress}
