---@meta
-- What C offers to the host's Lua (lua/, specs in the host state, the REPL). Policies see none of it.
-- Calls marked (waits) yield the calling coroutine until their answer is there; they may be made
-- from any coroutine that the loop started, and raise elsewhere. Failures that a caller must
-- expect come back as `nil, text`; mistakes of the caller raise.

---@class loop
loop = {}
---Start fn(...) as a coroutine on the next turn. An error in it is returned by :join; if nobody joins it
---at that moment, it is logged with its traceback. @return task
function loop.spawn(fn, ...) end
---(waits) @param seconds number
function loop.sleep(seconds) end
---Monotonic seconds. @return number
function loop.now() end
---Monotonic seconds, finer than a millisecond and while a turn lasts: for measuring. @return number
function loop.precise() end
---Wall clock in whole milliseconds since 1970. @return integer
function loop.wall_ms() end
---A number from 0 to less than 1, from the seed of the present virtual loop; else by chance. @return number
function loop.random() end
---A loop on virtual time inside this program: {seed=integer, wall_ms= at first, choose=function(what, count, names) -> 1..count}.
---What runs in it (spawn) and everything that it opens (sleeps, events, queues, clusters with a handler, watches, timers)
---lives on its clock, which stands still but for `advance`. What has to do with the machine (http, process, signals, folders,
---kubeconfigs) raises in it. Order is repeatable: choose is asked where several could go on: "network" (names: what would
---arrive), "task", "timer" (names is empty); without it the first in line goes. It must not wait. Every virtual loop must be closed.
---@return virtual
function loop.virtual(options) end
---A thing to wait on. A notify that nobody waits for is not kept. @return event
function loop.event() end
---Microseconds of the longest turn so far and how many were over 10 ms, on the wall and (cpu) in processor time of the
---loop's thread, which leaves out what the kernel gave to others in the middle of a turn; `reset` true starts over.
---@return {count:integer, longest_us:integer, longest_cpu_us:integer, over_10ms:integer, over_10ms_cpu:integer}
function loop.turns(reset) end
---Call fn(number), as a task, on each arrival of the signal ("TERM", "INT", "HUP", "USR1"). One fn a signal: the last.
function loop.on_signal(name, fn) end
---End the program with this status (0 to 255) at the end of the turn.
function loop.exit(status) end
---fn(), as a task, after a change under path and `quiet_ms` (50) without another one. @return path_watch|nil, string?
function loop.watch_path(path, fn, quiet_ms) end

---@class virtual
local virtual = {}
---Start fn(...) in it, when it is next run. @return task
function virtual:spawn(fn, ...) end
---fn(...) at once, as if it ran in there, but not as a task: what waits raises.
function virtual:call(fn, ...) end
---The wall clock stands at `wall_ms`, earlier or later, and the other clock with it; only while no timer is armed.
function virtual:rewind(wall_ms) end
---Do what can be done at this instant, at most `most` steps: turns of the loop, and deliveries of the network when no task can
---go on. @return integer, boolean steps done, and whether nothing is left
function virtual:settle(most) end
---Only turns of the loop, no deliveries. @return integer how many
function virtual:turn(most) end
---Only one delivery: a request to its handler, an answer to who waits for it, what a stream has written. @return boolean
function virtual:deliver() end
---Whether tasks can go on, and whether the network has something to deliver. @return boolean, boolean
function virtual:busy() end
---Settle, and move time by so many milliseconds, each timer at its own instant, with all that follows. Raises when it goes in circles.
function virtual:advance(ms) end
---Move time by so many milliseconds, no further than to the next timer, and fire what is due then (one timer at a time if there
---is a chooser: false while more are due). Nothing else: settle does what follows. @return boolean
function virtual:tick(ms) end
---Milliseconds until the next timer, nil if there is none. @return integer?
function virtual:next_due() end
function virtual:now() end     -- as loop.now in it
function virtual:wall_ms() end -- as loop.wall_ms in it
---End its tasks, close what it opened, forget it; also by a <close> variable. Not from inside. Watches, queues and clusters of it
---raise from then on.
function virtual:close() end

---@class event
local event = {}
---(waits) true, or false at the timeout (seconds; none: for ever)
function event:wait(timeout) end
---Wake all that wait (one turn later).
function event:notify() end

---@class path_watch
local path_watch = {}
function path_watch:close() end

---@class task
local task = {}
---(waits) until it has ended: true and its results, or false and the error ("cancelled" if it was).
function task:join() end
---It never runs again; what it waits for is given up, and its <close> variables are closed. A task that cancels
---itself ends at its next wait.
function task:cancel() end
function task:done() end

---@class json
json = { null = nil } -- json.null: a light userdata, the same in every state
---Text to a value; nil, text on malformed input. Arrays carry json.array as their metatable.
function json.decode(text) end
---What of a JSON text lies on or below these paths ({"request.uid", "request.object.spec.containers.*.resources"}), as a value; nothing
---else is built. nil, text: it is no JSON, or what was cut out has more than `most` bytes (64 MiB).
function json.cut(text, paths, most) end
---Sorted keys. Raises with the path for what JSON cannot say. json.encode(value, "pretty") indents.
function json.encode(value, style) end
---Mark a table as an array ([] when empty); returns it.
function json.array(t) end
function json.is_array(t) end
---Deep equality of JSON values (integers and floats by value).
function json.equal(a, b) end
---A value with tables of its own, all the way down; arrays stay arrays. Raises for what holds itself.
function json.copy(value) end

---@class yaml
yaml = {}
---All documents of a text as a Lua array; nil, "NAME line L column C: ...".
function yaml.decode(text, name) end
---One value as YAML text.
function yaml.encode(value) end

---@class quantity
quantity = {}
---"1000m","1" -> 0; -1, 0, 1. nil, text if one of them is none.
function quantity.compare(a, b) end
---Canonical text of a+b, a-b; milli(q), units(q) -> integers rounded up.
function quantity.add(a, b) end
function quantity.sub(a, b) end
function quantity.milli(q) end
function quantity.units(q) end

---@class typed
typed = {}
---A JSON text as the value of a typed kind (node: of sandbox/schema), just as json.decode and sandbox/schema/decode.lua make it; nil for what is
---out of the ordinary, right or wrong: those two then know what it is. canonical: function(text) -> a quantity's canonical text | nil.
---A node must not change after its first use.
function typed.decode(node, text, canonical) end
---The same of a decoded value: a deep copy, which shares with it only what is frozen.
function typed.clean(node, value, canonical) end
---A shallow copy of a table, with room for so many more names (0); arrays stay arrays.
function typed.clone(value, room) end
---An integer that is equal for values of which sandbox/typed/compare.lua says the same, `live` and the atom given; nil: not worth it.
function typed.shape(value, live, atom) end
---Keep the JSON of a table beside it: whoever encodes it (alone or inside of another) copies it. Returns the table, which must never be
---changed from now on; its metatable is taken.
function typed.frozen(value) end

---@class certificate
certificate = {}
---{subject=for people, names={DNS names and IP addresses}, not_before=, not_after=seconds since 1970} -> {authority=, cert=, key=}: PEM
---texts of a new authority, and of the one certificate that it signed; its key is forgotten. nil, text.
function certificate.make(options) end
---{not_before=, not_after=, fingerprint=SHA-256 of the first, count=} of the certificates in a PEM text. nil, text.
function certificate.read(pem) end
---{cert=, key=, authorities=PEM or nil, name=of the server or nil, now=seconds or nil}: true if they belong together, are good for that
---name at that time, and one of the authorities signed it; nil, text.
function certificate.check(options) end

---@class base64
base64 = {}
function base64.encode(text) end
---The text; nil, text if it is none. Line breaks are passed over.
function base64.decode(text) end

---@class digest
digest = {}
---Lowercase hex. @param text string @return string
function digest.sha256(text) end
---A 64-bit hash of the value's JSON, as an integer: the same within this process for equal values.
function digest.quick(value) end
---The same of a value in which some names do not count, wherever they stand: mask[name] is true (as if it were not there), "present"
---(whatever its value is) or a whole number (what is larger counts as that). @return integer
function digest.masked(value, mask) end

---@class fs
fs = {}
---nil, text. Bounded by 16 MiB.
function fs.read(path) end
---Write whole, by a temporary file and rename. true | nil, text
function fs.write(path, text) end
---Add text to the end of a file (made with mode 0600 if absent), in one write. true | nil, text
function fs.append(path, text) end
---The last bytes of a file, at most `most` (up to 16 MiB). nil, text.
function fs.tail(path, most) end
---Sorted names. nil, text.
function fs.list(path) end
---"file", "directory" (links followed), "other" (a pipe, a device) or nil
function fs.kind(path) end
---true (also when it is there already) | nil, text
function fs.make_folder(path) end
---A file or an empty folder. true | nil, text
function fs.remove(path) end
---A new folder of our own under TMPDIR. Its path | nil, text
function fs.temporary() end

---@class log
log = {}
---message: a sentence; fields: table of names to values (written sorted).
function log.debug(message, fields) end
function log.info(message, fields) end
function log.warn(message, fields) end
function log.error(message, fields) end
---"debug"|"info"|"warn"|"error", "text"|"json"
function log.configure(level, format) end

---@class metrics
metrics = {}
---metrics.counter(name, help, {"label",...}) -> family; as many values as labels follow each number.
function metrics.counter(name, help, labels) end
function metrics.gauge(name, help, labels) end
---buckets: ascending upper bounds, or nil for Prometheus' own
function metrics.histogram(name, help, labels, buckets) end
---All families in the Prometheus text format.
function metrics.text() end

---@class family
local family = {}
---Counters and gauges.
function family:add(by, ...) end
---Gauges.
function family:set(value, ...) end
---Histograms.
function family:observe(value, ...) end

---@class process
process = {}
---(waits) {argv={...}, env={NAME=value}, input=, timeout=seconds, directory=, background=true: where processors are scarce it gets
---what we leave} -> {status=, output=, errors=} | nil, text
function process.run(options) end
---Started and left running, at most until we end ourselves (SIGTERM, SIGKILL 3 s later). options as for run, and
---inherit=true: it shares our output; stdin=true: and reads our input. More than 4 MiB of output or errors end it. @return child
function process.spawn(options) end
---The value of an environment variable, or nil.
function process.env(name) end
---Set the environment from a file of NAME=value lines (# comments; values as they stand). true | nil, text
function process.load_env(path) end
process.id = 0

---@class child
local child = { id = 0 }
---"TERM" (default), "INT", "HUP", "KILL", "STOP", "CONT", "USR1"
function child:signal(name) end
---(waits) status (128 + signal), or nil, text: it still runs at the timeout, or could not be started
function child:wait(timeout) end
---What it wrote so far: output, errors. (With inherit: nothing.)
function child:output() end

---@class http
http = {}
---(waits) {method=, url=, headers={"Name: value"}, body=, timeout=seconds, most=bytes of the answer (64 MiB), unix=path, insecure=, ca=PEM,
---server_name=who
---the certificate must be of, in place of the host of the URL, cert=, key=PEM: whom we show ourselves as}
--- -> {status=, body=, content_type=} | nil, text, kind of failure ("timeout", "io", "invalid" ...)
function http.request(options) end
---{address=|unix=, handler=function(call) return status, body, content_type, headers end, cert=PEM, key=PEM, body_max=,
---connections=,---idle_timeout=seconds (never ends a stream), too_large=JSON text of the answer to larger bodies, any_method=true
---(else unknown ones are answered with 405), direct=function(call)}:
---client_ca=PEM: clients are asked for a certificate of these authorities, see call.client; per_address=connections from one address;
---request_timeout=seconds that a client may take to send one request.
---the handler runs as a coroutine and may wait; a table as body is written as JSON; headers: more of them, names to texts; an error is answered with 500.
---direct is asked first if there is one: it costs less and must not wait; what it returns is the answer, and nil leaves
---the call to the handler. uncopied=true: calls have no `body`, but call.text() and call.cut().
---@return server|nil, string?
function http.serve(options) end

---@class server
local server = { address = "127.0.0.1:43121" }
---Stop listening; what is open is answered with 503, streams end.
function server:close() end
---{cert=PEM, key=PEM, client_ca=PEM (absent: as it was)}: shown from the next handshake on. true | nil, text: nothing has changed.
function server:set_certificate(options) end

---What a handler gets. The functions know nothing any more once the call is answered.
---@class call
local call = { method = "GET", path = "/as/sent/without/query", body = "" }
---A query argument (decoded), or nil.
function call.query(name) end
---All query arguments as a table; of one that comes twice the first.
function call.queries() end
---A request header by its name in any case, or nil.
function call.header(name) end
---The body as a text; and what json.cut makes of it, without a text in between.
function call.text() end
function call.cut(paths, most) end
---The address that it came from ("10.0.0.7"; "unix").
function call.peer() end
---The name in the client's certificate ("" if it has none), if client_ca stands for it; else nil.
function call.client() end
---Answer piece by piece: {status=200, content_type="application/json", backlog=bytes that may wait to be sent (4 MiB),
---on_end=function(why)}. What the handler returns counts no more. on_end is called once, on the loop (it must not wait),
---unless :finish came before: "gone" (the peer left), "slow" (it left more than the backlog unread), "closed" (the server).
---on_drain=function() is called, in the same way, each time that nothing waits to be sent any more.
---@return stream|nil, string?   nil, text: nobody waits for the answer any more; on_end is not called then
function call.stream(options) end

---@class stream
local stream = {}
---Send these texts soon, one chunk or several. true | nil, text: the stream is ending.
function stream:write(...) end
---The answer is complete once all that was written is sent.
function stream:finish() end

---@class kube
kube = {}
---{kubeconfig=, context=} -> cluster | nil, text. Or {handler=function(request), namespace="default"}: a cluster in memory. The
---handler runs as a task of the loop that the cluster was opened in and may wait; it gets {method=, path=(escaped), query={name=value}
---(decoded), accept=, content_type=, body=} and answers {status=200, body=text|value, content_type=, headers={name=text},
---retry_after=seconds}, and to play a network: nil (no answer ever comes), delay=seconds, fault="reset" (nothing came back; what
---was done is done) or "refused", cut=bytes (of the body, then a reset), stream=function(writer): the body is what the
---writer writes, now or later, until it is finished. An error in it is logged and answered with 500.
function kube.open(options) end
---Compare resourceVersions: -1, 0, 1
function kube.compare_versions(a, b) end
---Percent-escape a path segment.
function kube.escape(text) end
---A cache without a watch, which its owner feeds: {name=, keep=, drop=, indexes=, revisions=, on_change=}, as of cluster:watch. It has all
---methods of a watch, and the six of `fed_cache`.
---@return fed_cache
function kube.cache(options) end

---@class fed_cache: watch
local fed_cache = {}
---What a watch would bring, as JSON text. true | nil, text
function fed_cache:put(text) end
function fed_cache:remove(text) end
---A whole list: what it does not hold is gone. true | nil, text
function fed_cache:list(texts, version) end
---The resourceVersion up to which everything was put in; sets it first if one is given. @return string
function fed_cache:position(version) end
---All that it holds, as a value for restore: the same one as long as nothing changed.
function fed_cache:save() end
---Hold what it held then; nobody is told.
function fed_cache:restore(saved) end

---@class writer
local writer = {}
---Whether the client still reads.
function writer:write(text) end
function writer:finish() end
---Break the connection.
function writer:reset() end
function writer:is_open() end

---@class cluster
---cluster.server, cluster.namespace, cluster.context, cluster.source (where the configuration came from)
local cluster = {}
---(waits) {method=, path=, query={name=value} (written sorted), body=string|table, content_type=, accept=, timeout=seconds,
---regardless=true: it leaves also without the lease, if there is one (a question that is a POST)}
--- -> {status=integer, body=string, reason=, message=, retry_after=seconds|nil}: whatever the HTTP status; nil, text and the
---kind of failure ("timeout", "io", "fenced": it did not lead, nothing was sent ...) if no answer came. path may have a query of its own.
function cluster:request(options) end
---(waits) until the stream has ended: as request, with on_bytes=function(text), which is called for each piece and must
---not wait. timeout: the silence after which it is dead.
function cluster:stream(options) end
---Counts: {reads, writes, watches, retries}
function cluster:counts() end
---Start a watch with a cache of its own. {path=, api_version=, kind=, label_selector=, field_selector=,
--- keep="whole"|"metadata"|{paths...}, drop={paths...}, indexes={name={paths...}} (at most 6; "=path" takes numbers, true and false too), revisions=bool, name=,
--- on_change=function(key, change, before, after, first_list), on_trouble=function(text, retry_seconds)}
---Both are called at once, on the loop: they must not wait; on_change may read this watch but not write to it.
---change: "added"|"changed"|"removed"; before/after: nil or {uid=, generation=, deleting=, indexes={name=value}}.
---@return watch
function cluster:watch(options) end

---Take part in the election of who writes: {namespace=, name= of the Lease, identity=(another one in every process; made if absent),
---duration=15, deadline=10, retry=2 (seconds), on_started=function(), on_lost=function(), on_observed=function(holder)}. From now on
---no write of this cluster leaves (POST, PUT, PATCH, DELETE, each try) while it is not held, or more than `deadline` after the sending of
---the last renewal that was acknowledged: it ends with "fenced". on_started may come again after on_lost; on_observed tells of another
---holder than before, maybe ourselves. They are called at once, on the loop: they must not wait.
---@return lease|nil, string?
function cluster:lease(options) end

---@class lease
local lease = {}
---Whether a write may leave now. @return boolean
function lease:may_write() end
---Who was last seen to hold it; "": nobody, or it has ended. @return string
function lease:holder() end
---@return string
function lease:identity() end
---The record may have changed: who waits for it looks now and not at the next retry.
function lease:look() end
---(waits) The clean stop: nothing is written from now on, what is held is given back. At most `timeout` seconds (else `deadline`).
---@return boolean given_back  false: others may have to wait until it expires
function lease:release(timeout) end
---Stop at once, without giving anything back. No callback follows, and no write leaves any more.
function lease:close() end

---@class watch
local watch = {}
function watch:synced() end          -- bool
---(waits) until synced or timeout (seconds): bool
function watch:wait_synced(timeout) end
---nil, or an object handle for this moment: {key=, uid=, version=, generation=, deleting=, ours=, indexes={}}
function watch:get(key) end
---Decoded value of the object, or nil.
function watch:read(key) end
---The object as an argument of generation:call, never a table here (policy.raw), or nil.
function watch:raw(key) end
---A hash of the object but for status, resourceVersion and generation: as long as it is the same, a diff finds what
---it found. nil if there is none.
function watch:content(key) end
function watch:keys() end            -- sorted array
function watch:find(index, value) end-- sorted array of keys
function watch:count() end
function watch:wrote(body) end       -- the answer of a write (text); true | nil, text
function watch:deleted(key, uid) end
---{ {generation=, time_ms=, spec=<text>} ... } oldest first
function watch:revisions(key) end
function watch:recorded(key, generation) end
---{lists, watches, events, bookmarks, dropped, last_byte_age (seconds), streaming, position (the resourceVersion up to which it has
---come; "" before the first list), error=text|nil, bytes=cache bytes}
function watch:stats() end
---At the end of the turn; afterwards every method but stop raises.
function watch:stop() end

---@class work
work = {}
---{name=} -> queue
function work.queue(options) end
---@class queue
local queue = {}
function queue:add(key, background) end        -- background: true for first-list and resync keys
function queue:add_after(key, seconds, background) end
function queue:retry(key) end                  -- -> delay in seconds
function queue:forget(key) end
function queue:failures(key) end
function queue:take() end                      -- (waits, always) the next key; nil after :stop
function queue:try_take() end                  -- the next key, or nil; never waits
---What it holds, as a value for restore: an array of {key, queued, background, later_background, taken_background, failures, due_ms}. Only
---while nothing is being worked on.
function queue:save() end
function queue:restore(saved) end
function queue:done(key) end
function queue:depth() end                     -- ready, in_work, waiting
function queue:stop() end

---@class policy
policy = {}
---Load a generation: {files={["phdeployment.lua"]=source,...}, name="policies", limits={memory=, instructions=, wall_ms=},
---background=true}: with background it is loaded on a worker thread, and the call (waits). For specs: coverage=true (generation:lines),
---reversed=true (pairs and next go the other way).
---@return generation|nil, PolicyError?
function policy.load(options) end

---An argument of generation:call that is decoded from JSON in the policy state: {[policy.bytes] = text}.
function policy.raw(text) end

---@class PolicyError
---outcome: "error"|"memory"|"budget"|"clock"|"value"|"state"; text: a whole sentence; file, line, source (that line), path (of the nil value), traceback

---@class generation
---generation.digest: of all its files
local generation = {}
---Call function `name` of the table that module `module` returned, with plain data; plain data comes back.
---A value {[policy.bytes]=text} in the arguments is decoded from JSON inside the policy state (never a table here):
---policy.raw(text) makes one.
---@return any, PolicyError?   nil and an error, or the first result
function generation:call(module, name, ...) end
---(waits) Calls on a worker thread, one after the other: an array of {module, name, arguments...} (plain data). Until they are over
---the generation can only be closed. A task that is cancelled meanwhile makes no further ones.
---@return {value:any, failure:PolicyError?}[]   in the same order
function generation:call_apart(calls) end
---The table that a module returned, as plain data; functions become the text "function".
function generation:describe(module) end
---Compare what is reachable from the policy's functions with what it was after load. true | nil, PolicyError
function generation:check_state() end
---{memory=, memory_peak=, calls=, instructions= of the last call, seconds= of processor time in all calls}
function generation:stats() end
---The lines of one of its files that were executed so far, as a set: {[3]=true}; nil without coverage.
function generation:lines(file) end
---The text of one of its files as it was loaded, or nil.
function generation:source(file) end
function generation:close() end

---@class args
---The words of the command line behind the script's name.
args = {}

---@class moonphase
moonphase = { version = "dev" }
---Text of a file built into the binary ("policies/phases.lua"); nil, text.
function moonphase.read_asset(name) end
---Sorted names of the files whose names begin with prefix.
function moonphase.assets(prefix) end
---Bytes that the host state holds.
function moonphase.memory() end

---Modules of lua/: require "command.run" is lua/command/run.lua. Beside it Lua's library without package, dofile, loadfile;
---io is write, read, stdout, stderr; os is time, date, clock, difftime. Globals are strict: reading or setting one
---that does not exist raises.
function require(name) end
