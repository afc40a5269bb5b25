-- HAProxy before 3.2 says in HTML, whatever its settings, that it cannot parse a request (haproxy/haproxy#3032).
-- local/proxy.py leads such requests here, with the status in a variable; the texts are those of the settings.
local texts = {}
for _, status in ipairs({ "400", "408", "422", "431" }) do
    local file = assert(io.open(os.getenv("PROXY_FILES") .. "/" .. status .. ".http", "rb"))
    texts[status] = file:read("a"):gsub("\n", "\r\n")
    file:close()
end

core.register_service("refuse", "tcp", function(applet)
    applet:send(texts[applet:get_var("txn.status")])
end)
