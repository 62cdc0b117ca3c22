-- Calls of ten new events of one user each, without end; see benchmarks/events.py.
local head = '{"trackingId":"default","userId":"%s","sessionId":"session-%s","eventList":['
local event = '{"eventId":"%s-%d","eventType":"click","itemId":"item-%d","sentAt":%.3f}'
local path, name, num_users, num_items, number

function init(arguments)
    path, name = arguments[1], arguments[2]
    num_users, num_items = tonumber(arguments[3]), tonumber(arguments[4])
    number = 0
    wrk.headers["Content-Type"] = "application/json"
    math.randomseed(#name)
end

function request()
    local user, events = "user-" .. math.random(0, num_users - 1), {}
    for at = 1, 10 do
        number = number + 1
        local item = math.random(0, num_items - 1)
        events[at] = event:format(name, number, item, 1.7e9 + number / 1000)
    end
    return wrk.format("POST", path, nil, head:format(user, user) .. table.concat(events, ",") .. "]}")
end

