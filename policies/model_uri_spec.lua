-- Where the files of models come from: schemes, the init container, volumes, credentials.

local world = require "spec_world"

local function decided(uri, change)
  local w = world.new()
  w.object.spec.predictors[1].modelURI = uri
  if change then change(w) end
  return world.decide(w), w
end

local function pod(uri, change)
  local decision = decided(uri, change)
  local deployment = decision.children[1]
  assert(deployment and deployment.kind == "Deployment", decision.status.message)
  return deployment.spec.template.spec
end

local function named(list, name)
  for _, one in ipairs(list or {}) do
    if one.name == name then return one end
  end
  return nil
end

local function names(list)
  local all = {}
  for i, one in ipairs(list) do all[i] = one.name end
  return all
end

local function mounts(container)
  local all = {}
  for i, mount in ipairs(container.volumeMounts) do
    all[i] = mount.name .. " " .. mount.mountPath .. (mount.subPath and " " .. mount.subPath or "") .. (mount.readOnly and " ro" or "")
  end
  return all
end

local function refused(reason, message, uri, change)
  local decision = decided(uri, change)
  assert.equal("Failed", decision.status.phase, uri)
  assert.equal(reason, decision.status.reason, uri)
  assert.equal(message, decision.status.message)
  local said = world.condition(decision.status, "ModelFetched")
  assert.equal("False", said.status)
  assert.equal(reason, said.reason)
  assert.equal(0, #decision.children)
end

local NFS = function(w) w.settings.modelUri.nfs.exports = json.array { "nas.local:/models", "nas.local:/models/big/", "10.0.0.7:/" } end
local PHFS = function(w) w.settings.modelUri.phfs.claim = "primehub-store" end
local MLFLOW = function(w)
  w.group.object.spec.mlflow = { trackingUri = "http://mlflow:5000", uiUrl = "http://mlflow.local",
    trackingEnvs = json.array { { name = "MLFLOW_TRACKING_TOKEN", valueFrom = { secretKeyRef = { name = "mlflow", key = "token" } } } },
    artifactEnvs = json.array { { name = "AWS_ACCESS_KEY_ID", value = "group" } } }
end

describe("a model in its image", function()
  it("has a modelURI of blanks at most", function()
    local w = world.deployed(function(given) given.object.spec.predictors[1].modelURI = " " end)
    assert.equal("InImage", world.condition(world.decide(w).status, "ModelFetched").reason)
  end)

  it("has no init container and no more volumes", function()
    for _, uri in ipairs { "", "  " } do
      local spec = pod(uri)
      assert.is_nil(spec.initContainers)
      assert.same({ "podinfo" }, names(spec.volumes))
      assert.same({ "podinfo /etc/podinfo" }, mounts(spec.containers[1]))
    end
  end)
end)

describe("a model URI", function()
  it("is handed to the storage initializer as it stands", function()
    for _, uri in ipairs { "gs://bucket/a/b", "s3://bucket/model", "https://account.blob.core.windows.net/container/model" } do
      local spec = pod(" " .. uri .. "\n")
      local init = spec.initContainers[1]
      assert.equal(1, #spec.initContainers)
      assert.equal("model-storage-initializer", init.name)
      assert.equal("kfserving/storage-initializer:v0.4.0", init.image)
      assert.same({ uri, "/mnt/models" }, init.args)
      assert.is_nil(init.command)
      assert.same({ "model-storage /mnt/models" }, mounts(init))
      assert.equal("FallbackToLogsOnError", init.terminationMessagePolicy)
      assert.same({ "podinfo", "model-storage" }, names(spec.volumes))
      assert.equal("{}", json.encode(spec.volumes[2].emptyDir))
      assert.same({ "podinfo /etc/podinfo", "model-storage /mnt/models" }, mounts(spec.containers[1]))
    end
  end)

  it("tells the wrapper where the files are", function()
    local variable = named(pod("gs://bucket/model").containers[1].env, "PREDICTIVE_UNIT_PARAMETERS")
    assert.equal('[{"name":"model_uri","type":"STRING","value":"/mnt/models"}]', variable.value)
    assert.is_nil(named(pod("").containers[1].env, "PREDICTIVE_UNIT_PARAMETERS"))
  end)

  it("that nobody knows is refused, and said so (fault 32)", function()
    refused("ModelStorageUnknown", "The model cannot be fetched from ftp://host/model: ftp is no storage that is known here: "
      .. "gs, s3, https, http, phfs, pvc, nfs, models", "ftp://host/model")
    refused("ModelStorageUnknown", "The model cannot be fetched from file:///etc: file is no storage that is known here: "
      .. "gs, s3, https, http, phfs, pvc, nfs, models", "file:///etc")
    assert.equal("ftp://host/model", pod("ftp://host/model", function(w) w.settings.modelUri.schemes = json.array { "ftp" } end)
      .initContainers[1].args[1])
  end)

  it("that is none is refused, and breaks nothing (fault 4)", function()
    for uri, why in pairs {
      ["model"] = "it begins with no scheme, such as s3://", ["/mnt/model"] = "it begins with no scheme, such as s3://",
      ["S3://bucket"] = "it begins with no scheme, such as s3://", ["s3://a b"] = "it has a space in it",
      ["gs://"] = "it names nothing behind gs://", ["gs:/x"] = "it names nothing behind gs://",
      ["nfs:///path"] = "invalid nfs uri: write nfs://SERVER/PATH", ["nfs://host:/path"] = "invalid nfs uri: write nfs://SERVER/PATH",
      ["models:/"] = "it names no model: write models:/NAME/VERSION",
      ["pvc:///x"] = "it names no PersistentVolumeClaim: write pvc://CLAIM/PATH",
      ["pvc://Claim/x"] = "it names no PersistentVolumeClaim: write pvc://CLAIM/PATH",
      ["pvc://claim/a/../../b"] = "a path may not lead upwards (..)",
    } do
      refused("ModelUriInvalid", "The model URI " .. uri .. " is invalid: " .. why, uri)
    end
    refused("ModelUriInvalid", "The model URI phfs:///../other is invalid: a path may not lead upwards (..)", "phfs:///../other", PHFS)
    refused("ModelUriInvalid", "The model URI nfs://nas.local/models/../etc is invalid: a path may not lead upwards (..)",
      "nfs://nas.local/models/../etc", NFS)
  end)

  it("that is refused leaves a running model as it is", function()
    local w = world.deployed()
    local before = json.encode(w.children)
    world.edit(w, function(spec) spec.predictors[1].modelURI = "nowhere" end)
    assert.equal("Failed", world.apply(w).status.phase)
    assert.equal(before, json.encode(w.children))
  end)

  it("of a model whose URI changes makes a new rollout, as does another Secret", function()
    for _, change in ipairs {
      function(spec) spec.predictors[1].modelURI = "gs://bucket/two" end,
      function(spec) spec.predictors[1].modelURISecret = "keys" end,
    } do
      local w = world.deployed(function(given) given.object.spec.predictors[1].modelURI = "gs://bucket/one" end)
      assert.equal("Deployed", world.apply(w).status.phase)
      world.edit(w, change)
      assert.equal("Deploying", world.apply(w).status.phase)
    end
  end)
end)

describe("phfs", function()
  it("is the group's folder, read-only in both containers, however many slashes there are (fault 32)", function()
    for _, uri in ipairs { "phfs:///a/b", "phfs://a/b", "phfs:////a//b" } do
      local spec = pod(uri, function(w)
        PHFS(w)
        w.group.object.spec.name = "Data_Science"
      end)
      local init = spec.initContainers[1]
      assert.same({ "file:///phfs/a/b", "/mnt/models" }, init.args)
      assert.same({ "model-storage /mnt/models", "phfs /phfs groups/data-science ro" }, mounts(init))
      assert.same({ "podinfo /etc/podinfo", "model-storage /mnt/models", "phfs /phfs groups/data-science ro" }, mounts(spec.containers[1]))
      assert.same({ claimName = "primehub-store" }, named(spec.volumes, "phfs").persistentVolumeClaim)
      assert.same({ "podinfo", "phfs", "model-storage" }, names(spec.volumes))
    end
  end)

  it("is refused where it is not there", function()
    refused("ModelStorageUnknown", "The model cannot be fetched from phfs:///a: Phfs is not enabled (setting modelUri.phfs.claim)", "phfs:///a")
  end)
end)

describe("pvc", function()
  it("is the claim, read-only in both containers", function()
    local spec = pod("pvc://models/iris/1")
    local init = spec.initContainers[1]
    assert.same({ "file:///pvc/iris/1", "/mnt/models" }, init.args)
    assert.same({ "model-storage /mnt/models", "model-claim /pvc ro" }, mounts(init))
    assert.same({ claimName = "models" }, named(spec.volumes, "model-claim").persistentVolumeClaim)
    assert.equal("file:///pvc/", pod("pvc://models").initContainers[1].args[1])
  end)

  it("may be only those that the administrator lists", function()
    local function listed(w) w.settings.modelUri.pvc.claims = json.array { "shared", "models-*", "project-{group}" } end
    for _, claim in ipairs { "shared", "models-a", "project-phusers" } do pod("pvc://" .. claim .. "/x", listed) end
    for _, claim in ipairs { "share", "shared2", "model", "project-other" } do
      refused("ModelStorageUnknown", ("The model cannot be fetched from pvc://%s/x: the claim %s is not open to models "
        .. "(setting modelUri.pvc.claims)"):format(claim, claim), "pvc://" .. claim .. "/x", listed)
    end
  end)
end)

describe("nfs", function()
  it("mounts an export that the administrator named, and never all of the server for the sake of a path (fault 23)", function()
    for uri, expected in pairs {
      ["nfs://nas.local/models/iris"] = { "nas.local", "/models", "file:///nfs/iris" },
      ["nfs://nas.local/models"] = { "nas.local", "/models", "file:///nfs/" },
      ["nfs://nas.local/models/big/one"] = { "nas.local", "/models/big", "file:///nfs/one" },
      ["nfs://nas.local/models/bigger"] = { "nas.local", "/models", "file:///nfs/bigger" },
      ["nfs://10.0.0.7/any/where"] = { "10.0.0.7", "/", "file:///nfs/any/where" },
      ["nfs://10.0.0.7"] = { "10.0.0.7", "/", "file:///nfs/" },
    } do
      local spec = pod(uri, NFS)
      assert.same({ server = expected[1], path = expected[2], readOnly = true }, named(spec.volumes, "nfs").nfs)
      assert.equal(expected[3], spec.initContainers[1].args[1])
      assert.same({ "podinfo /etc/podinfo", "model-storage /mnt/models", "nfs /nfs ro" }, mounts(spec.containers[1]))
    end
  end)

  it("is refused for every other server and export (fault 23)", function()
    for _, uri in ipairs { "nfs://nas.local/", "nfs://nas.local/modelsx", "nfs://evil/models" } do
      local decision = decided(uri, NFS)
      assert.equal("ModelStorageUnknown", decision.status.reason, uri)
    end
    refused("ModelStorageUnknown", "The model cannot be fetched from nfs://nas.local/models: the export nas.local:/models is not open "
      .. "to models (setting modelUri.nfs.exports)", "nfs://nas.local/models")
  end)
end)

describe("models", function()
  it("of MLflow are fetched by its own image with what the group says, from a claim that is only read (fault 23)", function()
    local spec = pod("models:/iris/Production", MLFLOW)
    local init = spec.initContainers[1]
    assert.equal("infuseai/mlflow-model-downloader:v0.2.3", init.image)
    assert.same({ "models:/iris/Production" }, init.args)
    assert.equal("http://mlflow:5000", named(init.env, "MLFLOW_TRACKING_URI").value)
    assert.equal("http://mlflow.local", named(init.env, "MLFLOW_UI_URL").value)
    assert.equal("token", named(init.env, "MLFLOW_TRACKING_TOKEN").valueFrom.secretKeyRef.key)
    assert.equal("group", named(init.env, "AWS_ACCESS_KEY_ID").value)
    assert.same({ "model-storage /mnt/models", "project /project/phusers ro" }, mounts(init))
    assert.same({ claimName = "project-phusers" }, named(spec.volumes, "project").persistentVolumeClaim)
    assert.same({ "podinfo /etc/podinfo", "model-storage /mnt/models" }, mounts(spec.containers[1]))
  end)

  it("that cannot be fetched are no success: the image's own script, which always ends well, is not run (fault 31)", function()
    assert.same({ "python", "-u", "/apps/downloader.py" }, pod("models:/iris/1", MLFLOW).initContainers[1].command)
    assert.is_nil(pod("models:/iris/1", function(w)
      MLFLOW(w)
      w.settings.modelUri.mlflow.command = json.array {}
    end).initContainers[1].command)
  end)

  it("are refused in a group without MLflow, and no verdict while the group is not known", function()
    refused("ModelStorageUnknown", "The model cannot be fetched from models:/iris/1: the group phusers has no MLflow "
      .. "(spec.mlflow.trackingUri of its PhGroup)", "models:/iris/1")
    local decision = decided("models:/iris/1", function(w) w.group = { state = "unknown" } end)
    assert.equal("Deploying", decision.status.phase)
  end)

  it("need no claim where the administrator says so", function()
    local spec = pod("models:/iris/1", function(w)
      MLFLOW(w)
      w.settings.modelUri.mlflow.claim = ""
    end)
    assert.same({ "podinfo", "model-storage" }, names(spec.volumes))
  end)
end)

describe("credentials", function()
  local function with_secret(w) w.object.spec.predictors[1].modelURISecret = "keys" end

  it("come from the Secret that the predictor names, as environment and as files (fault 32)", function()
    local spec = pod("s3://bucket/model", with_secret)
    local init = spec.initContainers[1]
    assert.same({ { secretRef = { name = "keys" } } }, init.envFrom)
    assert.same({ "model-storage /mnt/models", "model-credentials /mnt/credentials ro" }, mounts(init))
    assert.same({ secretName = "keys" }, named(spec.volumes, "model-credentials").secret)
    assert.is_nil(named(init.env, "GOOGLE_APPLICATION_CREDENTIALS"))
    assert.is_nil(spec.containers[1].envFrom)
    assert.same({ "podinfo /etc/podinfo", "model-storage /mnt/models" }, mounts(spec.containers[1]))
  end)

  it("for Google's storage are a file of that Secret", function()
    assert.equal("/mnt/credentials/gcloud-application-credentials.json",
      named(pod("gs://bucket/model", with_secret).initContainers[1].env, "GOOGLE_APPLICATION_CREDENTIALS").value)
    assert.is_nil(named(pod("gs://bucket/model").initContainers[1].env, "GOOGLE_APPLICATION_CREDENTIALS"))
  end)

  it("may be one Secret for all, and a predictor may have another", function()
    local function default(w) w.settings.modelUri.secret = "everybodys" end
    assert.equal("everybodys", pod("s3://b/m", default).initContainers[1].envFrom[1].secretRef.name)
    assert.equal("keys", pod("s3://b/m", function(w)
      default(w)
      with_secret(w)
    end).initContainers[1].envFrom[1].secretRef.name)
    assert.is_nil(pod("s3://b/m").initContainers[1].envFrom)
  end)

  it("in the user's environment reach the initializer, one of each name (fault 32)", function()
    local env = pod("s3://b/m", function(w)
      w.object.spec.env = json.array { { name = "HTTPS_PROXY", value = "http://proxy" }, { name = "GCE_METADATA_IP", value = "10.0.0.1" },
        { name = "AWS_SECRET_ACCESS_KEY", valueFrom = { secretKeyRef = { name = "s", key = "k" } } } }
    end).initContainers[1].env
    assert.same({ "GCE_METADATA_HOST", "HTTPS_PROXY", "GCE_METADATA_IP", "AWS_SECRET_ACCESS_KEY" }, names(env))
    assert.equal("10.0.0.1", named(env, "GCE_METADATA_IP").value)
  end)

  it("in a URI are not shown in the status", function()
    local decision = decided("ftp://user:hunter2@host/model?token=hunter2")
    assert.equal("ModelStorageUnknown", decision.status.reason)
    assert.is_nil(decision.status.message:find("hunter2", 1, true))
    for _, condition in ipairs(decision.status.conditions) do assert.is_nil(condition.message:find("hunter2", 1, true)) end
  end)
end)

describe("the initializer", function()
  it("costs no more than the model's own share, and no GPU", function()
    local spec = pod("gs://b/m", function(w) w.instance_type.object.spec["limits.nvidia.com/gpu"] = 1 end)
    local init, model = spec.initContainers[1], spec.containers[1]
    assert.equal("1", model.resources.limits["nvidia.com/gpu"])
    assert.same({ cpu = model.resources.limits.cpu, memory = model.resources.limits.memory }, init.resources.limits)
    assert.same({ cpu = model.resources.requests.cpu, memory = model.resources.requests.memory }, init.resources.requests)
  end)

  it("has image and version of the settings, through the registry of an air-gapped cluster", function()
    local function settings(w)
      w.settings.imagePrefix = "registry.local/"
      w.settings.modelUri.image, w.settings.modelUri.tag, w.settings.modelUri.pullPolicy = "kserve/storage-initializer", "v0.13.0", "Always"
      MLFLOW(w)
    end
    local init = pod("gs://b/m", settings).initContainers[1]
    assert.equal("registry.local/kserve/storage-initializer:v0.13.0", init.image)
    assert.equal("Always", init.imagePullPolicy)
    assert.equal("registry.local/infuseai/mlflow-model-downloader:v0.2.3", pod("models:/a/1", settings).initContainers[1].image)
  end)

  it("may fill no more of the node than the setting allows", function()
    assert.same({ sizeLimit = "20Gi" }, named(pod("gs://b/m", function(w) w.settings.modelUri.storageLimit = "20Gi" end).volumes,
      "model-storage").emptyDir)
  end)
end)
