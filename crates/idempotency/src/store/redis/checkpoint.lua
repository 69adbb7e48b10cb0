local token, progress = ARGV[1], ARGV[2]

if not record or record.phase ~= IN_FLIGHT or record.token ~= token then
    return {'lost'}
end
if #progress <= #bytes - record.left_from then
    -- It is of an earlier time, and has come late.
    return {'done'}
end
local expires_at, lease_until = record.expires_at, record.lease_until
replace(write(IN_FLIGHT, record.attempt, expires_at, lease_until, token, record.fingerprint, record.spent, progress), expires_at)
return {'done'}
