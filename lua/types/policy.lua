---@meta
-- What a policy is given and what it answers: the contract between the host and policies/.

---@class Seen
---@field object table           the PhDeployment as read: metadata, spec, status
---@field revisions Revision[]   generations of spec that no status write has recorded yet, oldest first
---@field children table<string, table<string, table>> by declared name, then by object name: seen.children.deployments["deploy-x"]
---@field pods table[]           what else is declared under `watches`, each an array sorted by name
---@field replicasets table[]
---@field group Input            declared inputs
---@field instance_type Input
---@field problems Problem[]     what the last attempt to write each child met, until an attempt succeeds
---@field events table[]        what is watched about pods (a watch with `about`): those of this object's pods
---@field held boolean|nil       its pod template waits for its turn in a rollout of the policies: what is live is right for now
---@field settings table         settings.yaml with the administrator's file over it
---@field status_only boolean|nil children were just written and only the status is asked for: children, prune and replace may be left out
---@field trace boolean|nil      somebody asks why: say in decision.trace which rows were tried, which held, with what evidence
---@field now integer            seconds since 1970
---@field policy {digest: string}

---@class Revision
---@field generation integer
---@field time string            RFC 3339, when the watch brought it
---@field spec table

---@class Input
---@field state "found"|"missing"|"unknown"|"ambiguous"
---@field object table|nil       found; or the last one known when unknown
---@field objects string[]|nil   ambiguous: the names
---@field age integer|nil        seconds since it was last known

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

---@class InputDeclaration: Kind
---@field namespace string|nil   a settings key that names the namespace ("catalogNamespace"); absent: the object's
---@field by string              path in the object whose value is looked for: "spec.groupId"
---@field match string[]         paths in the input; the first that is there is its identity: {"spec.id", "metadata.name"}
