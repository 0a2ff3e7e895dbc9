-- Sends the requests of the file TARGETS, one a line (path, then header fields, between tabs), over and over; each of
-- THREADS takes every so many-th. What came of it is said as one line of JSON, exactly, which wrk itself only rounds.

local threads = 0

function setup(thread)
    thread:set("first", threads)
    threads = threads + 1
end

function init()
    requests = {}
    for line in io.lines(os.getenv("TARGETS")) do
        local path, headers = nil, { Authorization = os.getenv("AUTHORIZATION") }
        for part in line:gmatch("[^\t]+") do
            local name, value = part:match("^([%w-]+): (.*)$")
            if path == nil then path = part else headers[name] = value end
        end
        requests[#requests + 1] = wrk.format("GET", path, headers)
    end
    step, sent = tonumber(os.getenv("THREADS")), 0
end

function request()
    local one = requests[(first + sent * step) % #requests + 1]
    sent = sent + 1
    return one
end

function done(summary, latency)
    local errors = summary.errors
    io.write(string.format(
        '\n{"requests": %d, "bytes": %d, "seconds": %f, "median": %f, "errors": %d, "closed": %d}\n',
        summary.requests, summary.bytes, summary.duration / 1e6, latency:percentile(50) / 1e6,
        errors.connect + errors.status + errors.timeout, errors.read + errors.write))
end
