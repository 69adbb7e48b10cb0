-- An owner leaves its own token in the record, and an operator a new one, so that the owner that was given up can
-- complete nothing any more, not even "again".
local function step(token, left, ttl, outcome)
    -- The same owner or operator repeats a completion that was done but whose reply was lost.
    if record and record.phase == COMPLETED and record.token == left then
        return {'completed', record.expires_at}
    end
    if not record or record.token ~= token or record.phase == COMPLETED then
        return {'lost'}
    end
    if record.phase == WITHDRAWN and (record.is_free or left == token) then
        return {'lost'}
    end
    local expires_at = later(now, ttl)
    replace(write(COMPLETED, record.attempt, expires_at, now, left, record.fingerprint, '', record.origin, outcome), expires_at)
    wake()
    return {'completed', expires_at}
end
