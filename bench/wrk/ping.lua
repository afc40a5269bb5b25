-- One ping per call, of one of 200 people, each with its own time.
local n, base, headers = 0, os.time() - 3000, { ["Content-Type"] = "application/json" }
function init() math.randomseed(os.time() + math.floor(os.clock() * 1e6)) end
function request()
  n = n + 1
  local time = os.date("!%Y-%m-%dT%H:%M:%S", base + math.floor(n / 200))
  return wrk.format("POST", "/api/locations", headers, string.format(
    '{"person_id": %d, "latitude": 52.5%04d, "longitude": 13.4%04d, "creation_time": "%s.%06dZ"}',
    1000001 + n % 200, n % 10000, n % 10000, time, math.random(0, 999999)))
end
