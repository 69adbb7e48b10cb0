-- An owner whose claim was withdrawn has nothing to release; an operator has the attempts before it.
local function step(token, spent_for, author)
    -- Other claims may have been withdrawn since this token was the last one.
    if record and record.is_free and is_spent(token) then
        return {'free'}
    end
    if not record or record.is_free or record.token ~= token or record.phase == COMPLETED then
        return {'lost'}
    end
    if record.phase == WITHDRAWN and author ~= 'operator' then
        return {'lost'}
    end
    free(token, record.fingerprint, later(now, spent_for))
    wake()
    return {'done'}
end
