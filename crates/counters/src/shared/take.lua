-- Takes all charges of one call, or none: GCRA as in domain/src/quota.rs, by the server's own clock.
-- KEYS[1] is the install's marker, the others are buckets; ARGV has N and T (µs) of each.
-- A bucket is its theoretical arrival time: whole µs, and a rest in 1/N µs, so that nothing is ever rounded.
-- Returns {0, 0}: taken. {i, wait}: bucket i refuses, for so many µs. {-1, 0}: there is no marker.
local marker = redis.call('GET', KEYS[1])
if not marker then
  return {-1, 0}
end
local emptied = tonumber(string.match(marker, '%d+$'))
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local which, longest, after = 0, -1, {}
for i = 2, #KEYS do
  local count, period = tonumber(ARGV[2 * i - 3]), tonumber(ARGV[2 * i - 2])
  local tat, rest = 0, 0
  local kept = redis.call('GET', KEYS[i])
  if kept then
    local whole, part = string.match(kept, '(%d+) (%d+)')
    tat, rest = tonumber(whole), tonumber(part)
  end
  -- What was counted before the server lost it is taken for spent.
  if emptied > 0 and emptied + period > tat then
    tat, rest = emptied + period, 0
  end
  -- No bucket is more than spent: its clock has gone back.
  if tat > now + period then
    tat, rest = now + period, 0
  end
  if tat < now then
    tat, rest = now, 0
  end
  tat = tat + math.floor(period / count)
  rest = rest + period % count
  if rest >= count then
    tat, rest = tat + 1, rest - count
  end
  local short = tat - now - period
  if rest > 0 then
    short = short + 1
  end
  if short > 0 and short > longest then
    which, longest = i - 1, short
  end
  after[i] = {tat, rest}
end
if which > 0 then
  return {which, longest}
end
for i = 2, #KEYS do
  local tat, rest = after[i][1], after[i][2]
  local full_in = math.floor((tat - now) / 1000) + 2
  redis.call('SET', KEYS[i], string.format('%.0f %.0f', tat, rest), 'PX', full_in)
end
return {0, 0}
