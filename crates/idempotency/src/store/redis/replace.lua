-- Repeating it leaves the same bytes, so a caller whose reply was lost takes the step again.
local function step(token, outcome, change)
    if not record or record.phase ~= COMPLETED or record.token ~= token then
        return {'lost'}
    end
    local origin = record.origin
    if change == 'erase' and origin ~= '' then
        -- The time and the route stay, and a length of 0 says that there is no label.
        local _, route_length = struct.unpack('>I8I2', origin)
        local route_until = ORIGIN_LENGTH + math.max(route_length, 1) - 1
        origin = string.sub(origin, 1, 10) .. struct.pack('>I2', 0) .. string.sub(origin, ORIGIN_LENGTH + 1, route_until)
    end
    local attempt, expires_at, completed_at, fingerprint = record.attempt, record.expires_at, record.lease_until, record.fingerprint
    local value = write(COMPLETED, attempt, expires_at, completed_at, token, fingerprint, record.spent, origin, outcome)
    replace(value, expires_at)
    return {'done'}
end
