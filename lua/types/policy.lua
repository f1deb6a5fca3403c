---@meta
-- What a policy is given and what it answers: the contract between the host and policies/.

---@class Seen
---@field object PhDeployment    as read: metadata, spec, status
---@field revisions Revision[]   generations of spec that no status write has recorded yet, oldest first
---@field children Children      by declared name, then by object name: seen.children.deployments["deploy-x"]
---@field pods Pod[]             what else is declared under `watches`, each an array sorted by name; of each only what `keep` says
---@field replicasets ReplicaSet[] metadata only
---@field group GroupInput       declared inputs
---@field instance_type InstanceTypeInput
---@field problems Problem[]     what the last attempt to write each child met, until an attempt succeeds
---@field events WatchedEvent[]  what is watched about pods (a watch with `about`): those of this object's pods
---@field early boolean|nil      the object is the answer of a request of our own: the watch may have generations before it still to bring
---@field held boolean|nil       its pod template waits for its turn in a rollout of the policies: what is live is right for now
---@field settings Settings      settings.yaml with the administrator's file over it
---@field ahead integer|nil      how many running objects of its group come before it; only where an input has a `limit`
---@field status_only boolean|nil children were just written and only the status is asked for: children, prune and replace may be left out
---@field trace boolean|"all"|nil somebody asks why: say in decision.trace which rows were tried, which held, with what evidence ("all": and
---                              what each looked at)
---@field now integer            seconds since 1970
---@field policy {digest: string}

---@class Revision
---@field generation integer
---@field time string            RFC 3339, when the watch brought it
---@field spec PhDeploymentSpec

---@class Children
---@field deployments table<string, Deployment>
---@field services table<string, Service>
---@field ingresses table<string, Ingress>
---@field secrets table<string, Secret>     metadata only
---@field http_routes table<string, table>

---@class Input
---@field state "found"|"missing"|"unknown"|"ambiguous"
---@field object table|nil       found; or the last one known when unknown
---@field objects string[]|nil   ambiguous: the names
---@field age integer|nil        seconds since it was last known, when that is longer ago than its time to live
---@field reason string|nil      why it is not known now, in one word: "Asking" (no answer yet), "Timeout", "Unreachable", "HttpStatus" ...
---@field message string|nil     the same for people: "it does not answer within 10 seconds"

---@class GroupInput: Input
---@field object PhGroup|nil

---@class InstanceTypeInput: Input
---@field object InstanceType|nil

---@class Problem
---@field kind string
---@field name string
---@field code integer           HTTP status; 0: no answer; 409 for a conflict of ownership
---@field reason string          "Invalid", "Forbidden", "ChildConflict", "WaitingForDeletion", "NotServed" ...
---@field message string

---@class Decision
---@field children table[]       whole manifests that should be: apiVersion, kind, metadata{name, labels, annotations}, spec ...; the host
---                              adds namespace, ownerReferences, the parent's label and its annotation. What is not named is left alone.
---@field prune {kind: string, name: string}[]    children to delete, if ours
---@field replace {kind: string, name: string}[]  children that may be deleted and made again where the server refuses a change (422)
---@field status table|nil       the whole status that should be; the host fills conditions[].lastTransitionTime. nil: leave it
---@field nudge {kind: string, name: string}[]|nil  children whose controllers should look again now, by a touch of their metadata: a
---                              ReplicaSet that was refused a pod sleeps for up to 16 minutes
---@field events Event[]|nil    what happened, for people: written after the status, put together when they repeat, best effort. Compare
---                              with the status before, so that nothing is told twice
---@field recorded integer|nil   the status holds every generation up to this one in its history
---@field wake boolean|nil       its pods wait for quota: the host touches its Deployment when some is free
---@field requeue_after number|nil seconds
---@field trace table|nil        which rows were tried, which held, with what evidence: for explain

---@class Event                  a Kubernetes Event about the object; the host fills everything else
---@field type "Normal"|"Warning"
---@field reason string          one word: "Deployed", "ImagePullFailed", "Recovered"
---@field message string         for people; no tokens, at most 1024 bytes

---@class digest                 a global of policies
digest = {}
---Lowercase hex. @param text string @return string
function digest.sha256(text) end
---What an htpasswd file holds of a password: "{SSHA}...", as nginx reads it. The salt is made of the second text, so that the
---same decision makes the same hash: take what nobody else has (the object's UID and the client's name). It is quick to
---try: for tokens that are long and random. @param password string @param salt_of string @return string
function digest.htpasswd(password, salt_of) end

---@class base64                 a global of policies
base64 = {}
---RFC 4648, padded; of at most 1 MiB. @param text string @return string
function base64.encode(text) end

---@class Controller             what policies/phdeployment.lua returns
---@field kind Kind              of the objects it is for
---@field label string           label that every child carries, with the object's name as value
---@field children table<string, Kind>  by name; `keep` etc. as below
---@field watches table<string, Kind>   what is only looked at, found by the label
---@field inputs table<string, InputDeclaration>
---@field decide fun(seen: Seen): Decision
---@field check_settings (fun(settings: table): string|nil)|nil  what is wrong with settings, as a sentence that begins with the path of one ("route
---                              is ..."): an edit that brings it is refused. Settings that are there at the start are decide's to tell of

---@class Kind
---@field api_version string     "apps/v1"
---@field kind string            "Deployment"
---@field resource string        "deployments"
---@field keep "whole"|"metadata"|string[]  what of an object is cached and seen. Secrets: "metadata"; the host compares their contents
---                              with the server's, and keeps none
---@field drop string[]|nil      paths of what is not cached all the same
---@field revisions boolean|nil
---@field field_selector string|nil   only these leave the server: "involvedObject.kind=Pod,reason=FailedMount"
---@field about string|nil       watches: name of another watch whose objects these tell of (Events of pods), by their name at the path `by`
---@field by string|nil          "involvedObject.name"
---@field optional boolean|nil   watches and children: a kind that the cluster may not serve, or not let us read, keeps nothing waiting. It is
---                              empty then, and a child of it that is wanted is a Problem ("NotServed")
---@field user_mark string|nil   children: an annotation of theirs in which what stands before the first "-" tells what the user asked for. While
---                              that stays the same, a pod template that changed is the policy's doing or an input's, and is paced

---@class InputDeclaration: Kind
---@field namespace string|nil   a settings key that names the namespace ("catalogNamespace"); absent: the object's
---@field by string              path in the object whose value is looked for: "spec.groupId"
---@field match string[]         paths in the input; the first that is there is its identity: {"spec.id", "metadata.name"}
---@field limit string|nil       path in the input of how many objects that name it may run ("spec.maxDeployments"): then seen.ahead is there
---@field http HttpSource|nil    asked by HTTP in place of the kind, where the settings name a server; or always, when no kind is declared

---@class HttpSource             what is asked, and what an answer means; {spec.x} and {metadata.x} in url and body are fields of the object
---@field server string|nil      path of a setting with {endpoint, tokenFile, tokenSecret, caFile, timeoutSeconds, ttlSeconds}: "source.graphql"
---@field url string|nil         absent: "{endpoint}" of the server. Fields may stand behind the host, and are escaped
---@field method "GET"|"POST"|nil absent: POST with a body, else GET
---@field headers string[]|nil   "Name: value"
---@field body table|string|nil  a table is sent as JSON, its texts filled
---@field status integer[]|nil   HTTP statuses that are answers; absent: 200. Any other is "not known now"
---@field keep string[]|nil      paths of the answer that are kept; absent: all
---@field map string|nil         "file.function" of the policies, called with Asked; absent: the answer is the object, and 404 (if `status` has
---                              it) means that there is none
---@field ttl number|nil         seconds for which an answer is good; absent: the server's ttlSeconds, else 60
---@field timeout number|nil     seconds that one may take; absent: the server's timeoutSeconds, else 10

---@class Asked                  what the mapping of an HttpSource is called with; it returns an Answer
---@field answer any             the JSON that came
---@field status integer         the HTTP status
---@field wanted string|nil      the object's value at `by`
---@field settings Settings

---@class Answer
---@field state "found"|"missing"|"unknown"
---@field object table|nil       found: in the shape that an object of the kind has
---@field reason string|nil      unknown: in one word
---@field message string|nil     unknown: for people; it must not change from try to try

-- ---------------------------------------------------------------- tables of rows (lua/policy/rules.lua)

---@class QuotaReview            what quota.lua is asked about a pod that is to be created
---@field pod table              of the pod what quota.lua keeps
---@field uses table<string, string>|nil  in place of the pod, when `fits` is asked: what it counts for
---@field group {state: "found"|"missing"|"ambiguous"|"unknown", label: string, name: string|nil, quota: table|nil, objects: string[]|nil}
---@field used table<string, string>      what the group's pods use: those that are seen, and those that were admitted and are not seen yet
---@field settings {quota: SettingsQuota}
---@field ahead {uses: table, count: integer, keeps: boolean|nil}[]|nil  who comes before this pod, and how many pods each lacks: those that
---                              ran and keep their place, then those that wait and are older; nil: nobody
---@field ending table<string, string>|nil  of `used`, what pods use that are being deleted
---@field place table<string, string>|nil   what is kept for the deployment of this pod

---@class QuotaAnswer
---@field uses table<string, string>  what the pod counts for, in any case
---@field refused string|nil     the row that refuses it; nil: it may be created
---@field code integer|nil       HTTP status of the refusal
---@field message string|nil

---@class Rule                   a row of failures.lua
---@field name string            the reason, one word, in status.reason and in the condition
---@field condition string       the condition that turns False while the row holds (ChildConflict turns True)
---@field when Predicate         what must hold
---@field message string         for people; {names} are taken from the evidence of `when`, then from the facts
---@field grace number|(fun(s: table): number)|nil      seconds that it must hold until the phase is Failed: 10, or setting "grace.image"
---@field waits (fun(s: table): number|nil)|nil         seconds for which it may end by itself: so long the condition is Unknown
---@field quiet boolean|nil      its message ends in {detail}, from a log: when only numbers in it change, the status stays as it is
---@field blocks boolean|nil     children are not written while this holds
---@field even_when_stopped boolean|nil                 Failed also while the model is being stopped

---@class PhaseRow               a row of phases.lua: { "Deployed", from = { "", "Deploying" }, when = fact "rollout.complete", message = "..." }
---@field [1] string             the phase
---@field when Predicate
---@field message string|(fun(s: table): string)
---@field reason string|(fun(s: table): string)|nil     absent: the phase's name
---@field from string[]|nil      the phases that may come before it ("": none yet); absent: all. A claim that is checked, never asked

---A function of the facts: nil or false, or it holds: true, or a table of evidence that messages can name.
---@alias Predicate fun(s: table): table|boolean|nil

---@class Finding                what a row found
---@field name string
---@field condition string
---@field row Rule
---@field message string
---@field evidence table
---@field remaining number|nil   seconds of its grace that are left

---@class Verdict
---@field failure Finding|nil    the first that holds past its grace
---@field held Finding[]         all that hold
---@field by_condition table<string, Finding>           the first that holds of each condition
---@field requeue_after number|nil                      seconds until a grace ends

---@class Rules
---@field rows Rule[]
local Rules = {}
---Try every row. @param s table the facts @return Verdict
function Rules:judge(s) end
---The first row with this mark that holds: first(s, "blocks"). @param s table @param mark string @return Finding|nil
function Rules:first(s, mark) end

---@class Phases
---@field rows PhaseRow[]
local Phases = {}
---The first row that holds; and the trace, if somebody asks for it.
---@param s table @return {phase: string, reason: string, message: string, row: integer}, table|nil
function Phases:judge(s) end

---@class Invariant              a row of invariants.lua: what must be so in every state that `moonphase check` reaches
---@field name string
---@field when "always"|"step"|"settled"                in each state; compared with the one before it (v.previous); once nothing goes on
---@field given (fun(v: View): any)|nil                 the row is about views for which this holds; absent: about all
---@field holds fun(v: View): any, table|nil            what must be so. Behind nil or false: evidence, whose fields the text may name
---@field text string            what people read when it is not so; {names} are taken from the evidence, then from the view

---@class Moment
---@field object PhDeployment|nil as the API server has it; nil when it is gone
---@field status PhDeploymentStatus                     empty while there is none
---@field phase string|nil
---@field children {Deployment: Deployment|nil, Service: Service|nil, Ingress: Ingress|nil, Secret: Secret|nil, HTTPRoute: table|nil}
---@field pods Pod[]

---@class View: Moment           one moment of the small world of `moonphase check`
---@field previous Moment|nil    the moment before; nil at the begin
---@field wants integer          how many replicas the spec asks for; 0 when it is stopped
---@field image string           the model's image that the spec asks for
---@field current boolean        there is a status, and it tells of the present spec
---@field settled boolean        faults have stopped and nothing goes on any more
---@field faults integer         how many faults there were so far
---@field scene table            what is wrong with the world (lua/check/scene.lua)
---@field writes {verb: string, kind: string, name: string}[]  of the operator, since the moment before

---@class Invariants
---@field rows Invariant[]
local Invariants = {}
---The first row that does not hold: its name, its text and the evidence. nil: all do.
---@param v View @return {name: string, text: string, evidence: table}|nil
function Invariants.check(v) end

---An ordered table of failure rules: the first row that holds is the reason. @param rows Rule[] @return Rules
function rules(rows) end
---The phases: the first row that holds is the phase. @param rows PhaseRow[] @return Phases
function phases(rows) end
---What must be so in every state that `moonphase check` reaches. @param rows Invariant[] @return Invariants
function invariants(rows) end
---What phdeployment.lua returns, checked. @param declaration Controller @return Controller
function controller(declaration) end

-- ---------------------------------------------------------------- what a row's `when` may ask (lua/policy/predicates.lua)

---Holds always. @type Predicate
always = nil
---A fact is true: fact "rollout.complete". @param path string @return Predicate
function fact(path) end
---A value of settings.yaml, for `grace`: setting "grace.image". @param path string @return fun(s: table): any
function setting(path) end
---A declared input is in this state: input { "group", "missing" }. Evidence: objects.
---@param wanted {[1]: string, [2]: "found"|"missing"|"unknown"|"ambiguous"} @return Predicate
function input(wanted) end
---A container of the newest pods waits for one of these reasons. With words, rows of { "what people read", pattern, ... }: only those words
---of its message. Evidence: container, image, reason, detail.
---@param wanted {waiting: string|string[], words: string[][]|nil} @return Predicate
function any_container(wanted) end
---A container ends again and again. Evidence: container, exit_code, reason, detail.
---@param wanted {reason: string|string[]|nil, container: string|nil, but: string|nil} @return Predicate
function crashing(wanted) end
---A condition of a pod: pod_condition { "PodScheduled", "False", reason = "Unschedulable" }. Evidence: reason, message.
---@param wanted {[1]: string, [2]: string, reason: string|nil} @return Predicate
function pod_condition(wanted) end
---The scheduler finds no node, and says so in these words (patterns). Evidence: message. @param wanted {says: string|string[]|nil} @return Predicate
function unschedulable(wanted) end
---A condition of the Deployment. Evidence: reason, message. @param wanted {[1]: string, [2]: string, reason: string|nil} @return Predicate
function deployment_condition(wanted) end
---Pods cannot be created, and the API server says why in these words (patterns). Evidence: message, webhook.
---@param wanted {says: string|string[]|nil} @return Predicate
function refused(wanted) end
---A volume cannot be mounted. Evidence: volume, detail. @return Predicate
function mount_failed() end
---The API server refused a child for good, of these kinds; or with this reason. Evidence: kind, name, code, reason, message.
---@param wanted {kinds: string[]|nil, reason: string|nil} @return Predicate
function problem(wanted) end

-- ---------------------------------------------------------------- helpers (lua/policy/text.lua, time.lua, labels.lua, resources.lua)

---@class text
text = { LIMIT = 1024 }
---In at most `limit` bytes (1024), one line. @param s string @param limit integer|nil @return string
function text.bounded(s, limit) end
---Without white space at both ends. @param s string @return string
function text.trim(s) end
---What a path of names leads to: at(settings, "grace.image"); nil if a step is missing. @param value any @param path string @return any
function text.at(value, path) end
---"Group not found: {group.id}", each {path} from the first of the tables that has it; "?" if none does. @param template string @return string
function text.fill(template, ...) end
---Without names of pods made from `name`, and without UUIDs. @param message string @param name string|nil @return string
function text.without_names(message, name) end
---What an API server's refusal of a pod says. @param message string @return string
function text.refusal(message) end
---What a scheduler says of a pod without a node, without counts and order. @param message string @return string
function text.capacity(message) end
---The end of a log: its last `lines` lines that are not empty. @param message string @param lines integer @param limit integer @return string
function text.tail(message, lines, limit) end
---Whether two texts differ in numbers and generated words only. @param one string @param other string @return boolean
function text.same_but_numbers(one, other) end

---@class time
time = {}
---"2020-03-23T02:03:15Z" as seconds since 1970; nil if it is no time. @param s any @return integer|nil
function time.parse(s) end
---@param seconds number @return string
function time.format(seconds) end

---@class labels
labels = {}
---The name of a group as a label's value. @param name string @return string
function labels.escape(name) end
---@param label string @return string|nil
function labels.unescape(label) end
---@param value any @return boolean
function labels.is_value(value) end
---@param key any @return boolean
function labels.is_key(key) end

---@class resources
resources = {}
---The amounts of an instance type's spec; nil and a sentence if a value is none. @param spec InstanceTypeSpec @param default_gpu string
---@return table|nil, string|nil
function resources.read(spec, default_gpu) end
---Split an offer between model and engine; nil and {resource, needed, offered} when nothing is left for the model.
---@param offer table @param engine {percent: number, cpu: integer, memory: integer}|nil @return {model: table, engine: table}|nil, table|nil
function resources.split(offer, engine) end
---@param milli integer @return string
function resources.cpu_text(milli) end
---@param bytes integer @return string
function resources.memory_text(bytes) end

-- ---------------------------------------------------------------- specs (lua/policy/spec.lua)

---@param name string @param body fun()
function describe(name, body) end
---@param name string @param body fun()
function it(name, body) end
---@param setup fun()
function before_each(setup) end
