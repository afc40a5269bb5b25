-- One position per call as OwnTracks sends it, of one of 200 people. The user name is the person's id.
local n, base = 0, os.time() - 3000
local letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local function base64(text)
  local found = {}
  for first = 1, #text, 3 do
    local a, b, c = text:byte(first, first + 2)
    local bits = a * 65536 + (b or 0) * 256 + (c or 0)
    for place = 3, 0, -1 do
      local index = math.floor(bits / 64 ^ place) % 64 + 1
      found[#found + 1] = (place == 1 and not b or place == 0 and not c) and "=" or letters:sub(index, index)
    end
  end
  return table.concat(found)
end
local headers = {}
for each = 0, 199 do
  headers[each] = { ["Content-Type"] = "application/json", ["Authorization"] = "Basic " .. base64(1000001 + each .. ":") }
end
function request()
  n = n + 1
  return wrk.format("POST", "/api/phones/owntracks", headers[n % 200], string.format(
    '{"_type":"location","lat":52.5%04d,"lon":13.4%04d,"tst":%d,"acc":12,"alt":34,"batt":66,"conn":"w","tid":"FB"}',
    n % 10000, n % 10000, base + math.floor(n / 200)))
end
