-- Answers requests that an HAProxy before 3.2 cannot parse (haproxy/haproxy#3032). local/first_request.cfg
-- sets the status; the texts are the error files of the settings.
local texts = {}
for _, status in ipairs({ "400", "408", "422", "431" }) do
    local file = assert(io.open(os.getenv("PROXY_FILES") .. "/" .. status .. ".http", "rb"))
    texts[status] = file:read("a"):gsub("\n", "\r\n")
    file:close()
end

local long = '{"detail": "At most 8190 bytes are allowed."}'
texts["414"] = "HTTP/1.1 414 Request-URI Too Long\r\nConnection: close\r\nContent-Type: application/json\r\n"
    .. "Content-Length: " .. #long .. "\r\nCache-Control: no-store\r\n\r\n" .. long  -- as connect/gunicorn.py

core.register_service("refuse", "tcp", function(applet)
    applet:send(texts[applet:get_var("txn.status")])
end)
