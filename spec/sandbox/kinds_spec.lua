-- The built-in kinds: what a server fills in, what it refuses and in which words, what an update may change.
-- The answers were measured on a Kubernetes 1.20.2 API server.

local registry = require "sandbox.registry"
local verbs = require "sandbox.verbs"
local world = require "sandbox.world"

local array = json.array
local w, kinds

local function kind(plural, group, version)
  return assert(kinds:find(group or "", version or "v1", plural), plural)
end

local DEPLOYMENTS, PODS, SERVICES

before_each(function()
  w = world.new { seed = 1, now_ms = 1767225600000 }
  kinds = registry.new(w)
  DEPLOYMENTS, PODS, SERVICES = kind("deployments", "apps"), kind "pods", kind "services"
  assert(verbs.create(w, kind "namespaces", "", { metadata = { name = "hub" } }))
end)

local function create(k, object, options)
  object.metadata = object.metadata or { name = "x" }
  local record, failure = verbs.create(w, k, k.namespaced and "hub" or "", object, options)
  return record and record.object, failure
end

local function update(k, object, change, options)
  local new = json.decode(json.encode(object))
  change(new)
  local record, failure = verbs.update(w, k, k.namespaced and "hub" or "", new.metadata.name, new, options)
  return record and record.object, failure
end

local function pod_spec(more)
  local spec = { containers = array { { name = "model", image = "nginx" } } }
  for name, value in pairs(more or {}) do spec[name] = value end
  return spec
end

local function deployment(more)
  local spec = { selector = { matchLabels = { app = "x" } }, template = { metadata = { labels = { app = "x" } }, spec = pod_spec() } }
  for name, value in pairs(more or {}) do spec[name] = value end
  return { spec = spec }
end

-- "field | reason | message" of each cause.
local function causes(failure)
  local lines = {}
  for i, one in ipairs(failure.details.causes) do lines[i] = ("%s | %s | %s"):format(one.field, one.reason, one.message) end
  return lines
end

describe("a status", function()
  local function write(k, object, status)
    return update(k, object, function(new) new.status = status end, { subresource = "status" })
  end

  it("of a Pod has addresses that are some, the first of which is its own", function()
    local pod = assert(create(PODS, { spec = pod_spec() }))
    local made = assert(write(PODS, pod, { podIP = "1.2.3.4" }))
    assert.same({ "1.2.3.4" }, { made.status.podIPs[1].ip, made.status.podIPs[2] })
    made = assert(write(PODS, made, { podIP = "2.3.4.5", podIPs = array { { ip = "1.2.3.4" } } }))
    assert.equal("2.3.4.5", made.status.podIPs[1].ip)
    made = assert(write(PODS, made, { podIPs = array { { ip = "1.2.3.4" } } }))
    assert.equal("1.2.3.4", made.status.podIP)
    local _, failure = write(PODS, made, { podIPs = array { {} } })
    assert.same({ 'status.podIPs[0] | FieldValueInvalid | Invalid value: "": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)' },
      causes(failure))
  end)

  it("of a Pod has conditions whose types are names", function()
    local pod = assert(create(PODS, { spec = pod_spec() }))
    pod = assert(write(PODS, pod, { conditions = array { { type = "Ready", status = "True" }, { type = "example.com/x", status = "True" } } }))
    local _, failure = write(PODS, pod, { conditions = array { { type = "a b" } } })
    assert.matches('^metadata.conditions%[0%].Type | FieldValueInvalid | Invalid value: "a b": name part must consist of', causes(failure)[1])
  end)

  it("of a Service or an Ingress says where it is reached by addresses and names that are some", function()
    local service = assert(create(SERVICES, { spec = { ports = array { { port = 80 } } } }))
    local _, failure = write(SERVICES, service, { loadBalancer = { ingress = array { { ip = "text" }, { hostname = "1.2.3.4" } } } })
    assert.same({ 'status.loadBalancer.ingress[0].ip | FieldValueInvalid | Invalid value: "text": must be a valid IP address',
      'status.loadBalancer.ingress[1].hostname | FieldValueInvalid | Invalid value: "1.2.3.4": must be a DNS name, not an IP address' }, causes(failure))
    local ingresses = kind("ingresses", "networking.k8s.io")
    local ingress = assert(create(ingresses, { spec = { defaultBackend = { service = { name = "s", port = { number = 80 } } } } }))
    _, failure = write(ingresses, ingress, { loadBalancer = { ingress = array { { hostname = "NO" } } } })
    assert.matches('^status.loadBalancer.ingress%[0%].hostname | FieldValueInvalid | Invalid value: "NO": a lowercase RFC 1123', causes(failure)[1])
  end)
end)

describe("a Deployment", function()
  it("gets the server's defaults", function()
    local made = assert(create(DEPLOYMENTS, deployment()))
    assert.same({ replicas = 1, revisionHistoryLimit = 10, progressDeadlineSeconds = 600,
      strategy = { type = "RollingUpdate", rollingUpdate = { maxSurge = "25%", maxUnavailable = "25%" } },
      selector = { matchLabels = { app = "x" } },
      template = { metadata = { creationTimestamp = json.null, labels = { app = "x" } }, spec = {
        restartPolicy = "Always", terminationGracePeriodSeconds = 30, dnsPolicy = "ClusterFirst", securityContext = {},
        schedulerName = "default-scheduler", containers = array { { name = "model", image = "nginx", imagePullPolicy = "Always",
          terminationMessagePath = "/dev/termination-log", terminationMessagePolicy = "File", resources = {} } } } } }, made.spec)
    assert.same({}, made.status)
    assert.equal(1, made.metadata.generation)
  end)

  it("says all that is wrong with it, in the server's order", function()
    local _, failure = create(DEPLOYMENTS, { metadata = { name = "A_" }, spec = { replicas = -1, strategy = { type = "Foo" },
      template = { metadata = { labels = { app = "x" } }, spec = pod_spec { restartPolicy = "Never",
        containers = array { { name = "m", ports = array { { containerPort = 0, protocol = "XX" } } } } } } } })
    assert.equal(422, failure.code)
    local lines = causes(failure)
    assert.equal("metadata.name | FieldValueInvalid | Invalid value: \"A_\": a lowercase RFC 1123 subdomain must consist of lower case "
      .. "alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for "
      .. "validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')", table.remove(lines, 1))
    assert.same({
      "spec.replicas | FieldValueInvalid | Invalid value: -1: must be greater than or equal to 0",
      "spec.selector | FieldValueRequired | Required value",
      'spec.template.metadata.labels | FieldValueInvalid | Invalid value: map[string]string{"app":"x"}: `selector` does not match '
        .. "template `labels`",
      "spec.template.spec.containers[0].image | FieldValueRequired | Required value",
      "spec.template.spec.containers[0].ports[0].containerPort | FieldValueRequired | Required value",
      'spec.template.spec.containers[0].ports[0].protocol | FieldValueNotSupported | Unsupported value: "XX": supported values: "SCTP", '
        .. '"TCP", "UDP"',
      'spec.template.spec.restartPolicy | FieldValueNotSupported | Unsupported value: "Never": supported values: "Always"',
      'spec.strategy | FieldValueNotSupported | Unsupported value: apps.DeploymentStrategy{Type:"Foo", '
        .. 'RollingUpdate:(*apps.RollingUpdateDeployment)(nil)}: supported values: "Recreate", "RollingUpdate"',
    }, lines)
  end)

  it("may not surge by nothing and be unavailable by nothing", function()
    local _, failure = create(DEPLOYMENTS, deployment { strategy = { rollingUpdate = { maxSurge = 0, maxUnavailable = "0%" } } })
    assert.same({ 'spec.strategy.rollingUpdate.maxUnavailable | FieldValueInvalid | Invalid value: intstr.IntOrString{Type:1, IntVal:0, '
      .. 'StrVal:"0%"}: may not be 0 when `maxSurge` is 0' }, causes(failure))
  end)

  it("keeps its selector", function()
    local made = assert(create(DEPLOYMENTS, deployment()))
    local _, failure = update(DEPLOYMENTS, made, function(new)
      new.spec.selector.matchLabels.app, new.spec.template.metadata.labels.app = "y", "y"
    end)
    assert.same({ 'spec.selector | FieldValueInvalid | Invalid value: v1.LabelSelector{MatchLabels:map[string]string{"app":"y"}, '
      .. "MatchExpressions:[]v1.LabelSelectorRequirement(nil)}: field is immutable" }, causes(failure))
  end)

  it("counts its generation up for its spec and its annotations, not for labels and status", function()
    local made = assert(create(DEPLOYMENTS, deployment()))
    made = assert(update(DEPLOYMENTS, made, function(new) new.metadata.labels = { a = "b" } end))
    assert.equal(1, made.metadata.generation)
    made = assert(update(DEPLOYMENTS, made, function(new) new.metadata.annotations = { a = "b" } end))
    assert.equal(2, made.metadata.generation)
    made = assert(update(DEPLOYMENTS, made, function(new) new.spec.replicas = 5 end))
    assert.equal(3, made.metadata.generation)
    made = assert(update(DEPLOYMENTS, made, function(new) new.spec.replicas, new.status = 9, { replicas = 1 } end, { subresource = "status" }))
    assert.same({ 3, 5, 1 }, { made.metadata.generation, made.spec.replicas, made.status.replicas })
  end)

  it("refuses a status that does not add up", function()
    local made = assert(create(DEPLOYMENTS, deployment()))
    local _, failure = update(DEPLOYMENTS, made, function(new) new.status = { replicas = 1, readyReplicas = 2 } end, { subresource = "status" })
    assert.same({ "status.readyReplicas | FieldValueInvalid | Invalid value: 2: cannot be greater than status.replicas" }, causes(failure))
  end)

  it("is scaled through a Scale", function()
    local scale = DEPLOYMENTS.subresources.scale
    local made = assert(create(DEPLOYMENTS, deployment { selector = { matchLabels = { app = "x" },
      matchExpressions = array { { key = "a", operator = "In", values = array { "y", "x" } }, { key = "q", operator = "DoesNotExist" } } },
      template = { metadata = { labels = { app = "x", a = "x" } }, spec = pod_spec() } }))
    assert.equal("a in (x,y),app=x,!q", scale.read(made).status.selector)
    assert.equal(7, scale.apply({ spec = { replicas = 7 } }, made).spec.replicas)
    local _, failure = scale.apply({ spec = { replicas = -1 } }, made)
    assert.equal('Scale.autoscaling "x" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0', failure.message)
  end)
end)

describe("a Pod", function()
  it("gets tolerations, priority and a quality of service", function()
    local made = assert(create(PODS, { spec = pod_spec() }))
    assert.same(array {
      { key = "node.kubernetes.io/not-ready", operator = "Exists", effect = "NoExecute", tolerationSeconds = 300 },
      { key = "node.kubernetes.io/unreachable", operator = "Exists", effect = "NoExecute", tolerationSeconds = 300 },
    }, made.spec.tolerations)
    assert.same({ 0, "PreemptLowerPriority", true }, { made.spec.priority, made.spec.preemptionPolicy, made.spec.enableServiceLinks })
    assert.same({ phase = "Pending", qosClass = "BestEffort" }, made.status)
  end)

  it("requests what it is limited to, in the server's way of writing amounts", function()
    local made = assert(create(PODS, { spec = pod_spec { containers = array { { name = "a", image = "x:1",
      resources = { limits = { cpu = "1000m", memory = "2G" }, requests = { cpu = 0.5 } } } } } }))
    local container = made.spec.containers[1]
    assert.same({ limits = { cpu = "1", memory = "2G" }, requests = { cpu = "500m", memory = "2G" } }, container.resources)
    assert.equal("IfNotPresent", container.imagePullPolicy)
    assert.equal("Burstable", made.status.qosClass)
  end)

  it("pulls always what is the latest, and only that", function()
    local policies = {}
    for i, image in ipairs { "nginx", "nginx:latest", "nginx:1", "host:5000/nginx", "host:5000/nginx:1", "a@sha256:" .. ("0"):rep(64), "A" } do
      policies[i] = require("sandbox.kinds.containers").pull_policy(image)
    end
    assert.same({ "Always", "Always", "IfNotPresent", "Always", "IfNotPresent", "IfNotPresent", "IfNotPresent" }, policies)
  end)

  it("changes its images and gets more tolerations, nothing else", function()
    local made = assert(create(PODS, { spec = pod_spec() }))
    made = assert(update(PODS, made, function(new)
      new.spec.containers[1].image = "nginx:2"
      table.insert(new.spec.tolerations, { key = "gpu", operator = "Exists" })
    end))
    assert.equal("nginx:2", made.spec.containers[1].image)
    local _, failure = update(PODS, made, function(new) new.spec.nodeName = "n1" end)
    assert.equal("spec", failure.details.causes[1].field)
    assert.matches("^Forbidden: pod updates may not change fields other than `spec.containers", failure.details.causes[1].message)
    _, failure = update(PODS, made, function(new) table.remove(new.spec.tolerations) end)
    assert.same({ "spec.tolerations | FieldValueForbidden | Forbidden: existing toleration can not be modified except its tolerationSeconds" },
      causes(failure))
  end)

  it("is refused with a priority class that nobody made", function()
    local _, failure = create(PODS, { spec = pod_spec { priorityClassName = "high" } })
    assert.same({ 403, 'pods "x" is forbidden: no PriorityClass with name high was found' }, { failure.code, failure.message })
    assert(create(kind("priorityclasses", "scheduling.k8s.io"), { metadata = { name = "high" }, value = 7 }))
    assert.equal(7, assert(create(PODS, { spec = pod_spec { priorityClassName = "high" } })).spec.priority)
  end)

  it("is bound to a node once", function()
    assert(create(PODS, { spec = pod_spec() }))
    local function bind(name)
      return PODS.subresources.binding(w, { record = w:get("pods", "hub", "x"), name = "x",
        body = { metadata = { name = "x" }, target = { kind = "Node", name = name } } })
    end
    local _, failure = bind(nil)
    assert.same({ 500, "target.name: Required value" }, { failure.code, failure.message })
    assert.equal(201, assert(bind("n1")).status)
    local bound = w:get("pods", "hub", "x").object
    assert.same({ "n1", "PodScheduled" }, { bound.spec.nodeName, bound.status.conditions[1].type })
    _, failure = bind("n2")
    assert.equal('Operation cannot be fulfilled on pods/binding "x": pod x is already assigned to node "n1"', failure.message)
  end)

  it("is evicted as it is deleted", function()
    assert(create(PODS, { spec = pod_spec { nodeName = "n1" } }))
    local answer = assert(PODS.subresources.eviction(w, { verbs = verbs, kind = PODS, namespace = "hub", name = "x",
      record = w:get("pods", "hub", "x"), body = { metadata = { name = "x" } } }))
    assert.same({ 201, "Success" }, { answer.status, answer.object.status })
    assert.equal("string", type(w:get("pods", "hub", "x").object.metadata.deletionTimestamp))
  end)

  it("is not evicted on trial, wherever that is said, nor with options that are wrong", function()
    assert(create(PODS, { spec = pod_spec() }))
    local function evict(wanted, is_trial)
      return PODS.subresources.eviction(w, { verbs = verbs, kind = PODS, namespace = "hub", name = "x", record = w:get("pods", "hub", "x"),
        options = { dry_run = is_trial }, body = { metadata = { name = "x" }, deleteOptions = wanted } })
    end
    assert.equal(201, assert(evict(nil, true)).status)
    assert.equal(201, assert(evict({ dryRun = array { "All" } }, true)).status)
    assert.equal(201, assert(evict { dryRun = array { "All" } }).status) -- as `kubectl drain --dry-run=server` says it
    local _, failure = evict { dryRun = array { "x" } }
    assert.equal(422, failure.code)
    _, failure = evict({ dryRun = array { "x" } }, true)
    assert.same({ 500, "Non-matching dry-run options in request and content: [All] and [x]" }, { failure.code, failure.message })
    _, failure = evict { propagationPolicy = "x" }
    assert.equal(422, failure.code)
    assert.truthy(w:get("pods", "hub", "x"))
    assert(evict {})
    assert.is_nil(w:get("pods", "hub", "x"))
  end)

  it("gives the log of the container that is meant", function()
    local made = assert(create(PODS, { spec = pod_spec { containers = array { { name = "a", image = "x" }, { name = "b", image = "x" } } } }))
    local function log(query)
      return PODS.subresources.log(w, { record = w:get("pods", "hub", "x"), name = made.metadata.name, query = query })
    end
    local _, failure = log {}
    assert.equal("a container name must be specified for pod x, choose one of: [a b]", failure.message)
    _, failure = log { container = "c" }
    assert.same({ 400, "container c is not valid for pod x" }, { failure.code, failure.message })
    assert.same({ status = 204, text = "" }, log { container = "a" })
  end)
end)

describe("a Service", function()
  it("gets an address, and each its own", function()
    local seen = {}
    for i = 1, 50 do
      local made = assert(create(SERVICES, { metadata = { name = "s" .. i }, spec = { ports = array { { port = 80 } } } }))
      local ip = made.spec.clusterIP
      assert.matches("^10%.96%.%d+%.%d+$", ip)
      assert.equal(nil, seen[ip])
      seen[ip] = true
      assert.same({ clusterIP = ip, clusterIPs = array { ip }, type = "ClusterIP", sessionAffinity = "None",
        ports = array { { port = 80, protocol = "TCP", targetPort = 80 } } }, made.spec)
      assert.same({ loadBalancer = {} }, made.status)
    end
  end)

  it("is refused an address that is taken or out of range", function()
    assert(create(SERVICES, { spec = { clusterIP = "10.96.3.4", ports = array { { port = 80 } } } }))
    local _, failure = create(SERVICES, { metadata = { name = "y" }, spec = { clusterIP = "10.96.3.4", ports = array { { port = 80 } } } })
    assert.same({ 'spec.clusterIPs | FieldValueInvalid | Invalid value: []string{"10.96.3.4"}: failed to allocated ip:10.96.3.4 with '
      .. "error:provided IP is already allocated" }, causes(failure))
    _, failure = create(SERVICES, { metadata = { name = "y" }, spec = { clusterIP = "10.97.0.1", ports = array { { port = 80 } } } })
    assert.matches("not in the valid range", failure.message)
  end)

  it("keeps its address", function()
    local made = assert(create(SERVICES, { spec = { ports = array { { port = 80 } } } }))
    local _, failure = update(SERVICES, made, function(new) new.spec.clusterIP = "10.96.9.9" end)
    assert.same({ 'spec.clusterIPs[0] | FieldValueInvalid | Invalid value: []string{"10.96.9.9"}: may not change once set' }, causes(failure))
    _, failure = update(SERVICES, made, function(new) new.spec.clusterIP = nil end)
    assert.same({ "spec.clusterIPs[0] | FieldValueInvalid | Invalid value: []string(nil): primary clusterIP can not be unset" },
      causes(failure))
    local same = assert(update(SERVICES, made, function(new) new.spec.clusterIPs = nil end))
    assert.same(made.spec, same.spec)
  end)

  it("says who may come in through a load balancer only if it is one, by ranges of addresses", function()
    local ranges = "must be a list of IP ranges. For example, 10.240.0.0/24,10.250.0.0/24 "
    local function with(type, list, annotation)
      local made, failure = create(SERVICES, { spec = { type = type, loadBalancerSourceRanges = list and array(list), ports = array { { port = 80 } } },
        metadata = { generateName = "s", annotations = { ["service.beta.kubernetes.io/load-balancer-source-ranges"] = annotation } } })
      return made and {} or causes(failure)
    end
    assert.same({}, with("LoadBalancer", { " 10.0.0.0/8 ", "::/0" }))
    assert.same({ "spec.LoadBalancerSourceRanges | FieldValueInvalid | Invalid value: \"[1.2.3.4 10.0.0.0/8]\": " .. ranges },
      with("LoadBalancer", { "1.2.3.4", "10.0.0.0/8" }))
    assert.same({ "spec.LoadBalancerSourceRanges | FieldValueForbidden | Forbidden: may only be used when `type` is 'LoadBalancer'",
      'spec.LoadBalancerSourceRanges | FieldValueInvalid | Invalid value: "[10.0.0.0/33]": ' .. ranges }, with("ClusterIP", { "10.0.0.0/33" }))
    local path = "metadata.annotations[service.beta.kubernetes.io/load-balancer-source-ranges]"
    assert.same({}, with("LoadBalancer", nil, "10.0.0.0/8, 1.0.0.0/8"))
    assert.same({ path .. ' | FieldValueInvalid | Invalid value: "y": ' .. ranges }, with("LoadBalancer", nil, "y"))
    assert.same({ path .. " | FieldValueForbidden | Forbidden: may only be used when `type` is 'LoadBalancer'" }, with("ClusterIP", nil, ""))
  end)

  it("gets node ports for its type, and loses them with it", function()
    local made = assert(create(SERVICES, { spec = { type = "NodePort",
      ports = array { { name = "a", port = 80 }, { name = "b", port = 80, protocol = "UDP" } } } }))
    local port = made.spec.ports[1].nodePort
    assert.equal(true, port >= 30000 and port <= 32767)
    assert.equal(port, made.spec.ports[2].nodePort)
    assert.equal("Cluster", made.spec.externalTrafficPolicy)
    made = assert(update(SERVICES, made, function(new) new.spec.type = "ClusterIP" end))
    assert.same({ nil, nil }, { made.spec.ports[1].nodePort, made.spec.externalTrafficPolicy })
  end)
end)

describe("a ConfigMap or Secret", function()
  it("is sealed by immutable", function()
    local maps = kind "configmaps"
    local made = assert(create(maps, { data = { a = "b" }, immutable = true }))
    local _, failure = update(maps, made, function(new) new.data.a, new.immutable = "c", nil end)
    assert.same({ "immutable | FieldValueForbidden | Forbidden: field is immutable when `immutable` is set",
      "data | FieldValueForbidden | Forbidden: field is immutable when `immutable` is set" }, causes(failure))
  end)

  it("takes stringData as data, and keeps its type", function()
    local secrets = kind "secrets"
    local made = assert(create(secrets, { stringData = { a = "x", b = "hello" } }))
    assert.same({ "Opaque", { a = "eA==", b = "aGVsbG8=" }, nil }, { made.type, made.data, made.stringData })
    local _, failure = update(secrets, made, function(new) new.type = "other" end)
    assert.same({ 'type | FieldValueInvalid | Invalid value: "other": field is immutable' }, causes(failure))
  end)

  it("never tells what a Secret holds", function()
    local _, failure = create(kind "secrets", { type = "kubernetes.io/dockerconfigjson", stringData = { [".dockerconfigjson"] = "hunter2" } })
    assert.equal('data[.dockerconfigjson] | FieldValueInvalid | Invalid value: "<secret contents redacted>": invalid character \'h\' '
      .. "looking for beginning of value", causes(failure)[1])
  end)
end)

describe("metadata", function()
  it("is checked for labels, annotations, owners and finalizers", function()
    local _, failure = create(kind "configmaps", { metadata = { name = "x", labels = { ["a b"] = "ok" }, annotations = { ["-"] = "" },
      finalizers = array { "mine" }, ownerReferences = array { { apiVersion = "v1", kind = "Event", name = "e", uid = "" } } } })
    local fields = {}
    for i, one in ipairs(failure.details.causes) do fields[i] = one.field end
    assert.same({ "metadata.labels", "metadata.annotations", "metadata.ownerReferences.uid", "metadata.ownerReferences",
      "metadata.finalizers[0]" }, fields)
  end)

  it("takes no more than 256 KiB of annotations", function()
    local maps = kind "configmaps"
    assert(create(maps, { metadata = { name = "a", annotations = { a = ("x"):rep(256 * 1024 - 1) } } }))
    local _, failure = create(maps, { metadata = { name = "b", annotations = { a = ("x"):rep(256 * 1024) } } })
    assert.same({ "metadata.annotations | FieldValueTooLong | Too long: must have at most 262144 bytes" }, causes(failure))
  end)

  it("repeats a trouble in the causes of an update, and not in its message", function()
    local made = assert(create(DEPLOYMENTS, deployment()))
    local _, failure = update(DEPLOYMENTS, made, function(new) new.metadata.labels = { a = "b c" } end)
    assert.equal(3, #failure.details.causes)
    assert.matches("^Deployment.apps \"x\" is invalid: metadata.labels: Invalid value: \"b c\": a valid label", failure.message)
  end)

  it("gets no new finalizers once it is being deleted", function()
    local maps = kind "configmaps"
    assert(create(maps, { metadata = { name = "x", finalizers = array { "a.io/b" } } }))
    assert(verbs.delete(w, maps, "hub", "x", {}))
    local _, failure = update(maps, w:get("configmaps", "hub", "x").object, function(new) table.insert(new.metadata.finalizers, "c.io/d") end)
    assert.equal('metadata.finalizers | FieldValueForbidden | Forbidden: no new finalizers can be added if the object is being deleted, '
      .. 'found new finalizers []string{"c.io/d"}', causes(failure)[1])
  end)
end)

describe("other kinds", function()
  it("write what the server writes", function()
    local made = assert(create(kind "namespaces", { metadata = { name = "n" } }))
    assert.same({ { finalizers = array { "kubernetes" } }, { phase = "Active" } }, { made.spec, made.status })
    made = assert(create(kind("replicasets", "apps"), deployment()))
    assert.same({ 1, { replicas = 0 } }, { made.spec.replicas, made.status })
    made = assert(create(kind("mutatingwebhookconfigurations", "admissionregistration.k8s.io"), { webhooks = array { {
      name = "a.b.io", sideEffects = "None", admissionReviewVersions = array { "v1" }, clientConfig = { url = "https://h/p" },
      rules = array { { apiGroups = array { "" }, apiVersions = array { "v1" }, resources = array { "pods" }, operations = array { "CREATE" } } },
    } } }))
    local hook = made.webhooks[1]
    assert.same({ "Fail", "Equivalent", 10, "Never", {}, {}, "*" }, { hook.failurePolicy, hook.matchPolicy, hook.timeoutSeconds,
      hook.reinvocationPolicy, hook.namespaceSelector, hook.objectSelector, hook.rules[1].scope })
  end)

  it("turn an Ingress between its versions", function()
    local v1, beta = kind("ingresses", "networking.k8s.io"), kind("ingresses", "networking.k8s.io", "v1beta1")
    local made = assert(create(beta, { spec = { backend = { serviceName = "s", servicePort = 80 }, rules = array { { host = "a.io",
      http = { paths = array { { path = "/x", backend = { serviceName = "t", servicePort = "http" } } } } } } } }))
    local turned = v1.strategy.from_storage(made)
    assert.same({ service = { name = "s", port = { number = 80 } } }, turned.spec.defaultBackend)
    assert.same({ path = "/x", pathType = "ImplementationSpecific", backend = { service = { name = "t", port = { name = "http" } } } },
      turned.spec.rules[1].http.paths[1])
    assert.same(made, beta.strategy.from_storage(turned))
  end)

  it("say which field of an Ingress is missing", function()
    local _, failure = create(kind("ingresses", "networking.k8s.io"), { spec = { rules = array { { http = { paths = array { {
      path = "x", pathType = "Prefix", backend = { service = { name = "s" } } } } } } } } })
    assert.same({ 'spec.rules[0].http.paths[0].path | FieldValueInvalid | Invalid value: "x": must be an absolute path',
      "spec.rules[0].http.paths[0].backend | FieldValueRequired | Required value: port name or number is required" }, causes(failure))
    assert.matches("^Ingress.extensions ", failure.message)
  end)

  it("print a Pod's line as kubectl shows it", function()
    local made = assert(create(PODS, { spec = pod_spec() }))
    w:advance(185000)
    assert.same({ "x", "0/1", "Pending", 0, "3m5s", "<none>", "<none>", "<none>", "<none>" }, PODS.row(made, w))
    made = json.decode(json.encode(made))
    made.status.containerStatuses = array { { name = "model", restartCount = 4, state = { waiting = { reason = "CrashLoopBackOff" } } } }
    assert.equal("CrashLoopBackOff", PODS.row(made, w)[3])
    made.metadata.deletionTimestamp = made.metadata.creationTimestamp
    assert.equal("Terminating", PODS.row(made, w)[3])
  end)
end)
