-- Frees the key of a completed run. Its token stays in the key, so that a repeated step whose reply was lost is
-- recognised.
local function step(token, spent_for)
    if record and record.is_free and is_spent(token) then
        return {'free'}
    end
    if not record or record.phase ~= COMPLETED or record.token ~= token then
        return {'lost'}
    end
    free(token, record.fingerprint, later(now, spent_for))
    return {'done'}
end
