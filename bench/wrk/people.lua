-- Five people by id.
local n = 0
function request()
  n = n + 1
  local ids = {}
  for each = 0, 4 do ids[#ids + 1] = "id=" .. 1000001 + (n * 7 + each * 31) % 200 end
  return wrk.format("GET", "/api/persons?" .. table.concat(ids, "&"))
end
