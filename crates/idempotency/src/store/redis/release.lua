local token = ARGV[1]

if not record or record.phase ~= IN_FLIGHT or record.token ~= token then
    return {'lost'}
end
redis.call('DEL', KEYS[1])
wake()
return {'done'}
