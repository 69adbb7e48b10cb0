local token, fingerprint, lease, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local attempt = 1
if record then
    if record.phase == COMPLETED then
        return {'found', bytes}
    end
    if record.token == token then
        return {'won', record.attempt}
    end
    if record.lease_until > now or record.fingerprint ~= fingerprint then
        return {'found', bytes}
    end
    attempt = math.min(record.attempt + 1, MOST_ATTEMPTS)
end

local lease_until = later(now, lease)
local expires_at = later(lease_until, ttl)
local value = write(IN_FLIGHT, attempt, expires_at, lease_until, token, fingerprint, '')
redis.call('SET', KEYS[1], value, 'PXAT', removal(expires_at))
return {'won', attempt}
