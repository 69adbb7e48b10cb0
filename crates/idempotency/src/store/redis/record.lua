-- The beginning of every step: the time, and how the record under its one key is read. `many.lua` is the end.
--
-- The record is one string, so that a step reads and writes it in one command:
--
--   version 1 | phase 1 | attempt 4 | expires_at 8 | lease_until 8 | token 16 | fingerprint 33 | spent tokens
--     | origin: created_at 8 | length of the route 2 | length of the label 2 | route | label
--     | what the run has left
--
-- in bytes, most significant first. What it has left is its progress while it is in flight, and its outcome once it is
-- completed. The time of its completion is then stored in place of the lease, where earlier versions stored 0. A
-- withdrawn record's token is spent: its claim was taken back, or may arrive no more. Its attempt counts those before
-- it, like a lapsed hold's; if it is 0, the key is free. The other spent tokens follow, 16 bytes each, the latest
-- first; their number is in the higher half of the phase's byte. Times are microseconds since 1970 by this server's
-- clock, and never past LATEST, up to which a Lua number is exact. What another version wrote is an unreadable record,
-- and not "no record".
--
-- The first claim writes the origin, and it never changes. A length of 0 means that there is no such text; otherwise it
-- is one more than the text's. Version 1 has no origin. A free key has that version, and a record that began with it
-- keeps it, so that a process that knows no other version can end its own run.
local VERSION = 2
local VERSION_WITHOUT_ORIGIN = 1
local IN_FLIGHT = 1
local COMPLETED = 2
local WITHDRAWN = 3
local HEAD = '>BBI4I8I8c16c33'
local HEAD_LENGTH = 71
local ORIGIN = '>I8I2I2'
local ORIGIN_LENGTH = 12
local TOKEN_LENGTH = 16
local MAX_SPENT_TOKENS = 8
local LATEST = 9007199254740991
local MAX_ATTEMPTS = 4294967295

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])

-- The step's key, what is stored there, and that as a record, which is absent if it has expired.
local key, bytes, record

-- Reads the record under the key. Returns the step's reply if it cannot.
local function read()
    record = nil
    if not bytes then
        return nil
    end
    local version = string.byte(bytes, 1)
    if #bytes < HEAD_LENGTH or version ~= VERSION and version ~= VERSION_WITHOUT_ORIGIN then
        return {'unreadable'}
    end
    local _, state, attempt, expires_at, lease_until, token, fingerprint = struct.unpack(HEAD, bytes)
    local phase = state % 16
    local spent_length = (state - phase) / 16 * TOKEN_LENGTH
    local is_phase = phase == IN_FLIGHT or phase == COMPLETED or phase == WITHDRAWN
    if not is_phase or expires_at > LATEST or lease_until > LATEST then
        return {'unreadable'}
    end
    local origin_from = HEAD_LENGTH + spent_length + 1
    local left_from = origin_from
    if version == VERSION then
        left_from = origin_from + ORIGIN_LENGTH
        if #bytes < left_from - 1 then
            return {'unreadable'}
        end
        local created_at, route_length, label_length = struct.unpack(ORIGIN, bytes, origin_from)
        if created_at > LATEST then
            return {'unreadable'}
        end
        left_from = left_from + math.max(route_length, 1) - 1 + math.max(label_length, 1) - 1
    end
    if #bytes < left_from - 1 then
        return {'unreadable'}
    end
    -- An expired record is absent, whether or not the server has removed it.
    if expires_at > now then
        record = {
            phase = phase,
            attempt = attempt,
            expires_at = expires_at,
            lease_until = lease_until,
            token = token,
            fingerprint = fingerprint,
            spent = string.sub(bytes, HEAD_LENGTH + 1, origin_from - 1),
            origin = string.sub(bytes, origin_from, left_from - 1),
            left_from = left_from,
            is_free = phase == WITHDRAWN and attempt == 0,
            is_lapsed = phase == WITHDRAWN or phase == IN_FLIGHT and lease_until <= now,
        }
    end
end

-- What the run of the record has left. A function, so that only steps that use it pay for the copy.
local function left()
    return string.sub(bytes, record.left_from)
end

-- Whether a claim by this token takes nothing any more.
local function is_spent(token)
    if not record then
        return false
    end
    if record.phase == WITHDRAWN and record.token == token then
        return true
    end
    for start = 1, #record.spent, TOKEN_LENGTH do
        if string.sub(record.spent, start, start + TOKEN_LENGTH - 1) == token then
            return true
        end
    end
    return false
end

-- These tokens and a later one, which replaces the earliest if there are too many.
local function with(spent, token)
    return string.sub(token .. spent, 1, MAX_SPENT_TOKENS * TOKEN_LENGTH)
end

-- All spent tokens: what a record keeps when another owner's token replaces its own.
local function spent_tokens()
    if record.phase == WITHDRAWN then
        return with(record.spent, record.token)
    end
    return record.spent
end

local function later(start, microseconds)
    return math.min(start + tonumber(microseconds), LATEST)
end

local function write(phase, attempt, expires_at, lease_until, token, fingerprint, spent, origin, left)
    local version = origin == '' and VERSION_WITHOUT_ORIGIN or VERSION
    local state = phase + #spent / TOKEN_LENGTH * 16
    local head = struct.pack(HEAD, version, state, attempt, expires_at, lease_until, token, fingerprint)
    return head .. spent .. origin .. left
end

-- The server counts in milliseconds: rounded up, it removes nothing that has not expired. Never at once: the step would
-- go on to write a record without a time of removal.
--
-- In two halves, because Lua writes a number that is too large for 32 bits slowly, or wrongly on a server of 32 bits. Steps that go
-- together often have the same time.
local removal_of, removal_text
local function removal(expires_at)
    if expires_at ~= removal_of then
        local at = math.ceil(math.max(expires_at, now + 1000000) / 1000)
        removal_of, removal_text = expires_at, string.format('%d%06d', math.floor(at / 1000000), at % 1000000)
    end
    return removal_text
end

-- Whether this call has written. If so, the server refuses no later write of it.
local has_written = false

-- Writes a record where there may be none. A full server refuses it.
local function put(value, expires_at)
    redis.call('SET', key, value, 'PXAT', removal(expires_at))
    has_written = true
end

-- Overwrites the record. A full server refuses a script whose first write may take memory. Here the first write moves
-- the time of removal, so a run that has a key can always end what it has begun.
local function replace(value, expires_at)
    if has_written then
        redis.call('SET', key, value, 'PXAT', removal(expires_at))
        return
    end
    redis.call('PEXPIREAT', key, removal(expires_at))
    redis.call('SET', key, value, 'KEEPTTL')
    has_written = true
end

-- Frees the key. The record notes at least until then that this token is spent, and which others are.
local function free(token, fingerprint, expires_at)
    local spent = ''
    if record then
        spent = record.token == token and record.spent or spent_tokens()
    end
    if spent ~= '' then
        -- Other spent tokens are remembered for as long as before.
        expires_at = math.max(expires_at, record.expires_at)
    end
    local mark = write(WITHDRAWN, 0, expires_at, now, token, fingerprint, spent, '', '')
    if bytes then
        replace(mark, expires_at)
    else
        put(mark, expires_at)
    end
end

-- Notifies all waiters, on the channel with the same name as the key. Some users may not publish, and a notification
-- may be lost in any case, so a failure here is not the step's failure.
local function wake()
    redis.pcall('PUBLISH', key, '')
end

