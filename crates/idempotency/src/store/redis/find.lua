local function step()
    if not record or record.is_free then
        return {'absent'}
    end
    return {'found', bytes, now}
end
