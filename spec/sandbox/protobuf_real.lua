-- Is the table of protobuf field numbers right? Objects with many fields are created on a real server, read as protobuf, decoded by
-- the sandbox and compared with their JSON:
--
--     spec/cluster/kube --no-controllers -- build/moonphase repl spec/sandbox/protobuf_real.lua
--
-- Fields that only one of the two has with a zero are passed over: JSON leaves zeros out.

local protobuf = require "sandbox.api.protobuf"

local cluster = assert(kube.open { kubeconfig = args[1] })
local wrong = 0

local POD_SPEC = [[{"volumes":[{"name":"e","emptyDir":{"medium":"Memory","sizeLimit":"1Mi"}},{"name":"c","configMap":{"name":"cm","items":
[{"key":"k","path":"p","mode":256}],"defaultMode":420,"optional":true}},{"name":"s","secret":{"secretName":"x","optional":true}},
{"name":"h","hostPath":{"path":"/x","type":"Directory"}},{"name":"p","persistentVolumeClaim":{"claimName":"c","readOnly":true}},
{"name":"d","downwardAPI":{"items":[{"path":"l","fieldRef":{"fieldPath":"metadata.labels"}}]}},{"name":"j","projected":{"sources":
[{"secret":{"name":"s","items":[{"key":"a","path":"b"}]}},{"configMap":{"name":"c"}},{"downwardAPI":{"items":[{"path":"n","fieldRef":
{"fieldPath":"metadata.name"}}]}},{"serviceAccountToken":{"audience":"me","expirationSeconds":3600,"path":"t"}}]}}],
"initContainers":[{"name":"i","image":"busybox"}],
"containers":[{"name":"a","image":"b:1","command":["x","y"],"args":["z"],"workingDir":"/w","ports":[{"name":"web","containerPort":80,
"hostPort":8080,"protocol":"TCP","hostIP":"1.2.3.4"}],"env":[{"name":"A","value":"B"},{"name":"C","valueFrom":{"fieldRef":{"fieldPath":
"metadata.name"}}},{"name":"D","valueFrom":{"secretKeyRef":{"name":"s","key":"k","optional":true}}},{"name":"E","valueFrom":
{"configMapKeyRef":{"name":"s","key":"k"}}},{"name":"F","valueFrom":{"resourceFieldRef":{"resource":"limits.cpu","divisor":"1m"}}}],
"envFrom":[{"prefix":"P","configMapRef":{"name":"cm","optional":true}},{"secretRef":{"name":"sec"}}],"resources":{"limits":{"cpu":"1",
"memory":"64Mi"},"requests":{"cpu":"100m"}},"volumeMounts":[{"name":"e","mountPath":"/e","readOnly":true,"subPath":"s"}],
"livenessProbe":{"httpGet":{"path":"/h","port":"web","scheme":"HTTP","httpHeaders":[{"name":"a","value":"b"}]},"initialDelaySeconds":1,
"timeoutSeconds":2,"periodSeconds":3,"failureThreshold":5},"readinessProbe":{"tcpSocket":{"port":80,"host":"h"}},"startupProbe":
{"exec":{"command":["c"]}},"lifecycle":{"postStart":{"exec":{"command":["a"]}},"preStop":{"httpGet":{"port":1}}},"securityContext":
{"capabilities":{"add":["A"],"drop":["B"]},"privileged":true,"runAsUser":1,"runAsGroup":2,"runAsNonRoot":true,
"readOnlyRootFilesystem":true,"allowPrivilegeEscalation":true,"procMount":"Default","seLinuxOptions":{"user":"u","role":"r","type":"t",
"level":"l"},"seccompProfile":{"type":"Localhost","localhostProfile":"p"}},"stdin":true,"stdinOnce":true,"tty":true}],
"nodeSelector":{"a":"b"},"serviceAccountName":"sa","securityContext":{"runAsUser":1,"runAsGroup":3,"runAsNonRoot":true,
"supplementalGroups":[4,5],"fsGroup":6,"fsGroupChangePolicy":"Always","sysctls":[{"name":"kernel.shm_rmid_forced","value":"0"}]},
"imagePullSecrets":[{"name":"q"}],"hostname":"hn","subdomain":"sd","affinity":{"nodeAffinity":
{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"k","operator":"In","values":["v"]}],
"matchFields":[{"key":"metadata.name","operator":"In","values":["n"]}]}]},"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":5,
"preference":{"matchExpressions":[{"key":"k","operator":"Exists"}]}}]},"podAffinity":
{"requiredDuringSchedulingIgnoredDuringExecution":[{"labelSelector":{"matchLabels":{"a":"b"},"matchExpressions":[{"key":"c","operator":
"NotIn","values":["d"]}]},"namespaces":["n"],"topologyKey":"zone"}]},"podAntiAffinity":
{"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":7,"podAffinityTerm":{"labelSelector":{"matchLabels":{"a":"b"}},
"topologyKey":"host"}}]}},"schedulerName":"mine","automountServiceAccountToken":true,"tolerations":[{"key":"k","operator":"Equal",
"value":"v","effect":"NoExecute","tolerationSeconds":9}],"hostAliases":[{"ip":"1.1.1.1","hostnames":["a"]}],"dnsConfig":{"nameservers":
["8.8.8.8"],"searches":["s"],"options":[{"name":"o","value":"v"}]},"shareProcessNamespace":true,"readinessGates":[{"conditionType":"x"}],
"enableServiceLinks":true,"topologySpreadConstraints":[{"maxSkew":2,"topologyKey":"z","whenUnsatisfiable":"DoNotSchedule",
"labelSelector":{"matchLabels":{"q":"r"}}}],"terminationGracePeriodSeconds":11,"restartPolicy":"Always",
"dnsPolicy":"ClusterFirst"%s}]]

-- Names of our own, so that what an earlier run left behind is not in the way.
local NAME = "proto-" .. loop.wall_ms()

local META = '{"name":"proto","labels":{"a":"b"},"annotations":{"c":"d"},"finalizers":["x.y/z"],"ownerReferences":[{"apiVersion":"v1",'
  .. '"kind":"ConfigMap","name":"n","uid":"u","controller":true,"blockOwnerDeletion":true}]}'
local NS = "/api/v1/namespaces/default"
local TEMPLATE = '{"metadata":{"labels":{"a":"b"}},"spec":' .. POD_SPEC:format "" .. "}"

local OBJECTS = {
  { NS .. "/configmaps", '{"metadata":' .. META .. ',"data":{"k":"v","e":""},"binaryData":{"b":"AQID"},"immutable":true}' },
  { NS .. "/secrets", '{"metadata":' .. META .. ',"data":{"k":"djE="},"type":"Opaque","immutable":true}' },
  { NS .. "/serviceaccounts", '{"metadata":' .. META .. ',"secrets":[{"name":"s"}],"imagePullSecrets":[{"name":"i"}],'
    .. '"automountServiceAccountToken":true}' },
  { NS .. "/services", '{"metadata":' .. META .. ',"spec":{"type":"LoadBalancer","selector":{"a":"b"},"externalIPs":["1.2.3.4"],"ports":'
    .. '[{"name":"x","port":80,"targetPort":"web","protocol":"TCP"},{"name":"y","port":81,"targetPort":8081}],"sessionAffinity":'
    .. '"ClientIP","sessionAffinityConfig":{"clientIP":{"timeoutSeconds":7}},"loadBalancerIP":"5.6.7.8","loadBalancerSourceRanges":'
    .. '["10.0.0.0/8"],"externalTrafficPolicy":"Local","publishNotReadyAddresses":true}}' },
  { NS .. "/endpoints", '{"metadata":' .. META .. ',"subsets":[{"addresses":[{"ip":"10.1.1.1","hostname":"h","nodeName":"n","targetRef":'
    .. '{"kind":"Pod","namespace":"default","name":"p","uid":"u","resourceVersion":"5"}}],"notReadyAddresses":[{"ip":"10.1.1.2"}],'
    .. '"ports":[{"name":"p","port":80,"protocol":"TCP"}]}]}' },
  { NS .. "/resourcequotas", '{"metadata":' .. META .. ',"spec":{"hard":{"pods":"100","requests.cpu":"100"},"scopeSelector":'
    .. '{"matchExpressions":[{"scopeName":"PriorityClass","operator":"In","values":["nobody"]}]}}}' },
  { NS .. "/events", '{"metadata":' .. META .. ',"involvedObject":{"kind":"Pod","namespace":"default","name":"p"},"reason":"R","message":"M",'
    .. '"source":{"component":"c","host":"h"},"firstTimestamp":"2020-01-01T00:00:00Z","lastTimestamp":"2020-01-01T00:00:01Z","count":3,'
    .. '"type":"Normal","eventTime":"2020-01-01T00:00:00.123456Z","series":{"count":2,"lastObservedTime":"2020-01-01T00:00:00.123456Z"},'
    .. '"action":"A","related":{"kind":"Pod"},"reportingComponent":"x.y/rc","reportingInstance":"ri"}' },
  { "/apis/coordination.k8s.io/v1/namespaces/default/leases", '{"metadata":' .. META .. ',"spec":{"holderIdentity":"h",'
    .. '"leaseDurationSeconds":15,"acquireTime":"2020-01-01T00:00:00.000001Z","renewTime":"2020-01-01T00:00:00.999999Z","leaseTransitions":2}}' },
  { "/apis/scheduling.k8s.io/v1/priorityclasses", '{"metadata":{"name":"proto"},"value":-7,"description":"d","preemptionPolicy":"Never"}' },
  { "/apis/networking.k8s.io/v1/namespaces/default/ingresses", '{"metadata":' .. META .. ',"spec":{"ingressClassName":"c","defaultBackend":'
    .. '{"resource":{"apiGroup":"g.h","kind":"K","name":"n"}},"tls":[{"hosts":["h.io"],"secretName":"s"}],"rules":[{"host":"h.io","http":'
    .. '{"paths":[{"path":"/p","pathType":"Prefix","backend":{"service":{"name":"s","port":{"number":80}}}},{"path":"/q","pathType":"Exact",'
    .. '"backend":{"service":{"name":"s","port":{"name":"w"}}}}]}}]}}' },
  { "/api/v1/namespaces", '{"metadata":{"name":"proto"}}' },
  { NS .. "/pods", '{"metadata":' .. META .. ',"spec":' .. POD_SPEC:format ',"activeDeadlineSeconds":12' .. "}",
    '{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True","reason":"R","message":"M","lastTransitionTime":'
    .. '"2020-01-01T00:00:00Z"}],"message":"m","reason":"r","hostIP":"1.1.1.1","podIP":"2.2.2.2","podIPs":[{"ip":"2.2.2.2"}],"startTime":'
    .. '"2020-01-01T00:00:00Z","containerStatuses":[{"name":"a","state":{"waiting":{"reason":"W","message":"M"}},"lastState":{"terminated":'
    .. '{"exitCode":137,"signal":9,"reason":"OOMKilled","message":"x","startedAt":"2020-01-01T00:00:00Z","finishedAt":"2020-01-01T00:00:01Z",'
    .. '"containerID":"docker://1"}},"ready":true,"restartCount":4,"image":"i","imageID":"id","containerID":"docker://2","started":true}],'
    .. '"initContainerStatuses":[{"name":"i","state":{"running":{"startedAt":"2020-01-01T00:00:00Z"}},"ready":true,"restartCount":0,'
    .. '"image":"","imageID":""}]}}' },
  { "/apis/apps/v1/namespaces/default/deployments", '{"metadata":' .. META .. ',"spec":{"replicas":0,"selector":{"matchLabels":{"a":"b"}},'
    .. '"template":' .. TEMPLATE .. ',"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":2,"maxUnavailable":"30%"}},'
    .. '"minReadySeconds":5,"revisionHistoryLimit":3,"paused":true,"progressDeadlineSeconds":44}}',
    '{"status":{"observedGeneration":1,"replicas":9,"updatedReplicas":2,"readyReplicas":8,"availableReplicas":7,"unavailableReplicas":1,'
    .. '"collisionCount":3,"conditions":[{"type":"Available","status":"True","reason":"r","message":"m","lastUpdateTime":'
    .. '"2020-01-01T00:00:00Z","lastTransitionTime":"2020-01-01T00:00:00Z"}]}}' },
  { "/apis/apps/v1/namespaces/default/replicasets", '{"metadata":' .. META .. ',"spec":{"replicas":0,"minReadySeconds":5,"selector":'
    .. '{"matchLabels":{"a":"b"}},"template":' .. TEMPLATE .. "}}",
    '{"status":{"replicas":9,"fullyLabeledReplicas":6,"readyReplicas":8,"availableReplicas":7,"observedGeneration":1,"conditions":'
    .. '[{"type":"ReplicaFailure","status":"True","reason":"r","message":"m","lastTransitionTime":"2020-01-01T00:00:00Z"}]}}' },
}

local ZERO = { [""] = true, [0] = true, [false] = true, [json.null] = true }

local function is_zero(value)
  return value == nil or ZERO[value] or type(value) == "table" and next(value) == nil
end

local function compare(path, real, mine)
  if type(real) == "table" and type(mine) == "table" then
    local names = {}
    for name in pairs(real) do names[name] = true end
    for name in pairs(mine) do names[name] = true end
    for name in pairs(names) do compare(path .. "." .. name, real[name], mine[name]) end
  elseif real ~= mine and not (is_zero(real) and (type(mine) == "table" or is_zero(mine))) then
    wrong = wrong + 1
    print(path, "JSON " .. (real == nil and "nothing" or json.encode(real)), "protobuf " .. (mine == nil and "nothing" or json.encode(mine)))
  end
end

-- Nested structs of zeros are nothing too.
local function without_zeros(value)
  if type(value) ~= "table" then return value end
  local kept = {}
  for name, one in pairs(value) do
    one = without_zeros(one)
    if not is_zero(one) or math.type(name) then kept[name] = one end
  end
  return kept
end

for _, one in ipairs(OBJECTS) do
  local path, body, status = one[1], one[2]:gsub("\n", ""):gsub('"proto"', '"' .. NAME .. '"'), one[3]
  local made = cluster:request { method = "POST", path = path, body = body, content_type = "application/json" }
  local item = path .. "/" .. NAME
  if made.status ~= 201 then
    wrong = wrong + 1
    print(path, made.status, made.message)
  end
  if status then
    local wrote = cluster:request { method = "PATCH", path = item .. "/status", body = status, content_type = "application/merge-patch+json" }
    if wrote.status ~= 200 then print(path, wrote.status, wrote.message) end
  end
  local real = json.decode(cluster:request({ method = "GET", path = item, accept = "application/json" }).body)
  local bytes = cluster:request({ method = "GET", path = item, accept = "application/vnd.kubernetes.protobuf" }).body
  local mine, why = protobuf.decode(bytes)
  if mine then
    compare(real.kind, without_zeros(real), without_zeros(mine))
  else
    wrong = wrong + 1
    print(path, why or "the kind is not in the table")
  end
  cluster:request { method = "PATCH", path = item, body = '{"metadata":{"finalizers":null}}', content_type = "application/merge-patch+json" }
  cluster:request { method = "DELETE", path = item }
end

print(#OBJECTS .. " objects, " .. wrong .. " differences")
return wrong == 0 and 0 or 1
