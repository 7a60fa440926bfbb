-- The wrk script: sends one prepared request over and over, rotating the MCP sessions it was given,
-- and prints what wrk measured as one line of JSON. Environment: LOAD_HEADERS (file of "Name: value"
-- lines), LOAD_METHOD, LOAD_BODY (file; empty for none), LOAD_SESSIONS (commas between; empty for none).
local requests, turn = {}, 0

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

function init()
  local headers, method, body = {}, os.getenv("LOAD_METHOD"), nil
  if os.getenv("LOAD_BODY") ~= "" then
    body = read(os.getenv("LOAD_BODY"))
  end
  for name, value in read(os.getenv("LOAD_HEADERS")):gmatch("([^:\n]+): ([^\n]*)\n") do
    headers[name] = value
  end
  for session in (os.getenv("LOAD_SESSIONS") or ""):gmatch("[^,]+") do
    headers["Mcp-Session-Id"] = session
    requests[#requests + 1] = wrk.format(method, nil, headers, body)
  end
  if #requests == 0 then
    requests[1] = wrk.format(method, nil, headers, body)
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'LOAD {"requests":%d,"seconds":%.3f,"p50_us":%d,"p99_us":%d,"bad_status":%d,"broken":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
