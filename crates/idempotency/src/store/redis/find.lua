if not record then
    return {'absent'}
end
return {'found', bytes}
