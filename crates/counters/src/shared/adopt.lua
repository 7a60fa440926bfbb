-- Marks which server counts for this install, and since when its buckets may have been lost.
-- KEYS[1] is the marker: `<run id> <µs>`, 0 where nothing was ever lost. ARGV: this server's run id; the one that the
-- asking gateway knew before (empty: none); `1` where the install is known to have counted at a server before.
-- Returns since when, and `1` where that was found just now.
local now_is, knew, counted = ARGV[1], ARGV[2], ARGV[3]
local marker = redis.call('GET', KEYS[1])
local emptied, found = '0', '0'
if marker then
  local id, since = string.match(marker, '^(%S+) (%d+)$')
  if id == now_is and (knew == '' or knew == now_is or since ~= '0') then
    return {since, '0'}
  end
end
-- A marker of another server, none where there was one, or somebody who remembers more than this server does.
if marker or knew ~= '' or counted == '1' then
  local time = redis.call('TIME')
  emptied, found = string.format('%.0f', tonumber(time[1]) * 1000000 + tonumber(time[2])), '1'
end
redis.call('SET', KEYS[1], now_is .. ' ' .. emptied)
return {emptied, found}
