-- The load of the fault tests: each request has an id of its own, `METHOD` and `PREFIX` are arguments, and the last
-- line printed says what became of all of them. An answer repeats the id that it is for; one to a question that was
-- not asked, or was answered before, is counted as foreign.

local asked, method, prefix, count = {}, "GET", "", 0
answered, failed, foreign = 0, 0, 0
local threads = {}

function setup(thread)
   table.insert(threads, thread)
end

function init(arguments)
   method, prefix = arguments[1], arguments[2]
end

function request()
   count = count + 1
   local id = prefix .. count
   asked[id] = true
   local body = method == "POST" and "hello" or nil
   return wrk.format(method, "/work?id=" .. id, nil, body)
end

function response(status, _, body)
   if status ~= 200 then
      failed = failed + 1
      return
   end
   answered = answered + 1
   -- wrk puts what it has of a body that was cut before the next one on that connection: x and hello, no part of an id.
   local id = body:gsub("^[xhelo]+", "")
   if not asked[id] then
      foreign = foreign + 1
   end
   asked[id] = nil
end

function done(summary)
   local sum = { answered = 0, failed = 0, foreign = 0 }
   for _, thread in ipairs(threads) do
      for name in pairs(sum) do
         sum[name] = sum[name] + thread:get(name)
      end
   end
   local errors = summary.errors
   local cut = errors.connect + errors.read + errors.write + errors.timeout
   io.write(string.format("answered %d failed %d cut %d foreign %d\n", sum.answered, sum.failed, cut, sum.foreign))
end
