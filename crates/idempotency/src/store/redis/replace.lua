-- Repeating it leaves the same bytes, so a caller whose reply was lost takes the step again.
local token, outcome = ARGV[1], ARGV[2]

if not record or record.phase ~= COMPLETED or record.token ~= token then
    return {'lost'}
end
local attempt, expires_at, completed_at, fingerprint = record.attempt, record.expires_at, record.lease_until, record.fingerprint
local value = write(COMPLETED, attempt, expires_at, completed_at, token, fingerprint, record.spent, record.origin, outcome)
replace(value, expires_at)
return {'done'}
