-- The words that policies are given: labels, times, texts, base64, rules and phases.

describe("a group's label", function()
  it("is escaped as PrimeHub's parts agree", function()
    for name, label in pairs {
      phusers = "escaped-phusers", ["ml-team"] = "escaped-ml-2dteam", Data_Science = "escaped--44ata-5f-53cience",
      ["test@test.com"] = "escaped-test-40test-2ecom", ["研究"] = "escaped--e7-a0-94-e7-a9-b6", ["café"] = "escaped-caf-c3-a9",
      [("a"):rep(55)] = "escaped-" .. ("a"):rep(55),
    } do
      assert.equal(label, labels.escape(name))
      assert.equal(name, labels.unescape(label))
    end
  end)

  it("is always a valid label value, and never another group's", function()
    local seen = {}
    for _, name in ipairs { "", ("a"):rep(56), ("a"):rep(57), ("研究"):rep(20), ("研究"):rep(21), "-", "a-", ("a-"):rep(30),
      ("x"):rep(300) } do
      local label = labels.escape(name)
      assert.is_true(#label <= 63, label)
      assert.matches("^[a-z0-9][-a-z0-9]*[a-z0-9]$", label)
      assert.is_nil(seen[label], label)
      seen[label] = true
    end
    assert.is_nil(labels.unescape(labels.escape("")))
    assert.is_nil(labels.unescape(labels.escape(("a"):rep(56))))
    assert.is_nil(labels.unescape("phusers"))
  end)
end)

describe("times", function()
  it("are read and written", function()
    for text_of, seconds in pairs { ["1970-01-01T00:00:00Z"] = 0, ["2020-03-23T02:03:15Z"] = 1584928995,
      ["2020-02-29T23:59:59Z"] = 1583020799, ["2000-03-01T00:00:00Z"] = 951868800, ["2100-02-28T00:00:00Z"] = 4107456000 } do
      assert.equal(seconds, time.parse(text_of), text_of)
      assert.equal(text_of, time.format(seconds))
    end
  end)

  it("may have fractions and offsets, and are refused when they are none", function()
    assert.equal(time.parse("2020-03-23T02:03:15Z"), time.parse("2020-03-23T10:03:15.123456+08:00"))
    for _, wrong in ipairs { "", "2020-03-23", "2020-13-23T02:03:15Z", "2020-03-23T02:03:15", "yesterday" } do
      assert.is_nil(time.parse(wrong), wrong)
    end
    assert.is_nil(time.parse(nil))
  end)
end)

describe("texts", function()
  it("are filled from the first that knows", function()
    assert.equal("a 1 2 true ?", text.fill("a {x} {y.z} {flag} {none}", { x = 1 }, { x = 9, y = { z = 2.0 }, flag = true }))
  end)

  it("are cut between characters", function()
    for limit = 3, 12 do
      local cut = text.bounded("äöüß日本語", limit)
      assert.is_true(#cut <= limit)
      assert.is_not_nil(utf8.len(cut), cut)
    end
    assert.equal("a b", text.bounded("  a\n\tb  "))
  end)
end)

describe("the words of others", function()
  it("lose pods' names and identities, and nothing else", function()
    assert.equal('pods "(pod)" of deploy-x, deploy-xy-1-2 and (id)', text.without_names(
      'pods "deploy-x-7d9f8-abcde" of deploy-x, deploy-xy-1-2 and 0f8fad5b-d9cb-469f-a165-70867728950e', "deploy-x"))
    assert.equal("deploy-x-7d9f8", text.without_names("deploy-x-7d9f8", "deploy-x"))
    assert.equal("a.b-1-2 (pod)", text.without_names("a.b-1-2 a+b-1-2", "a+b"), "a name is no pattern")
  end)

  it("lose a pod's name also where the API server cut it short (fault 15)", function()
    for length = 8, 63 do
      local name = ("deploy-" .. ("long-name"):rep(7)):sub(1, length):gsub("%-$", "x")
      for _, hash in ipairs { "7d9f8", "7d9f85c6b", "7d9f85c6bf" } do
        local pod = (name .. "-" .. hash .. "-"):sub(1, 58) .. "x7k2p"
        assert.equal(name .. ": pod=(pod)_hub", text.without_names(name .. ": pod=" .. pod .. "_hub", name), pod)
        assert.equal("(pod)", text.without_names(pod, name), pod)
      end
    end
  end)

  it("say of a scheduler's verdict the reasons, sorted", function()
    assert.equal("no nodes are available: Insufficient cpu, Insufficient memory",
      text.capacity "0/9 nodes are available: 2 Insufficient memory, 7 Insufficient cpu.")
    assert.equal("no nodes are available: Insufficient cpu, Insufficient memory",
      text.capacity "0/9 nodes are available: 2 Insufficient cpu, 7 Insufficient memory.")
    assert.equal("no nodes are available: Insufficient nvidia.com/gpu", text.capacity("0/2 nodes are available: "
      .. "2 Insufficient nvidia.com/gpu. preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod."))
    assert.equal("something else", text.capacity "something else")
  end)

  it("say of a log its last lines, cut in front, between characters", function()
    assert.equal("b | c", text.tail("a\n\n b \r\nc\n\n", 2, 100))
    assert.equal("", text.tail("\n \n", 3, 100))
    assert.equal("", text.tail("a", 0, 100))
    for limit = 6, 20 do
      local cut = text.tail("日本語 äöü", 1, limit)
      assert.is_true(#cut <= limit)
      assert.is_not_nil(utf8.len(cut), cut)
      assert.matches("ü$", cut)
    end
  end)

  it("are news if more than numbers differ", function()
    assert.is_true(text.same_but_numbers("at 10:01:02 pid 7 0x7f3a died", "at 11:59:00 pid 12345 0x81bc died"))
    assert.is_false(text.same_but_numbers("at 10:01 died", "at 10:01 lived"))
  end)
end)

it("labels are known from what are none", function()
  for _, value in ipairs { "", "a", "A-b_c.d", ("x"):rep(63) } do assert.is_true(labels.is_value(value), value) end
  for _, value in ipairs { "-a", "a-", "a b", "é", ("x"):rep(64), "a/b" } do assert.is_false(labels.is_value(value), value) end
  assert.is_false(labels.is_value(7))
  for _, key in ipairs { "a", "primehub.io/group", "kubernetes.io/os" } do assert.is_true(labels.is_key(key), key) end
  for _, key in ipairs { "", "/a", "a/", "A.b/c", "a/b/c", "-x/y" } do assert.is_false(labels.is_key(key), key) end
end)

it("base64 is as everybody writes it", function()
  for plain, encoded in pairs { [""] = "", f = "Zg==", fo = "Zm8=", foo = "Zm9v", foob = "Zm9vYg==", ["\0\255\254"] = "AP/+" } do
    assert.equal(encoded, base64.encode(plain))
  end
end)

describe("rules", function()
  local function facts(more)
    local s = { conditions = {}, now = 1000, seen = { trace = true } }
    for k, v in pairs(more or {}) do s[k] = v end
    return s
  end
  local function holds(evidence)
    return function() return evidence end
  end

  it("the first row that holds is the failure, and the record tells which were tried", function()
    local verdict = rules {
      { name = "A", condition = "X", when = holds(nil), message = "a" },
      { name = "B", condition = "X", when = holds { n = 1 }, message = "b {n}" },
      { name = "C", condition = "Y", when = holds(true), message = "c" },
    }:judge(facts())
    assert.equal("B", verdict.failure.name)
    assert.equal("b 1", verdict.failure.message)
    assert.equal("C", verdict.by_condition.Y.name)
    assert.same({ false, true, true }, { verdict.trace[1].held, verdict.trace[2].held, verdict.trace[3].held })
    assert.same({ n = 1 }, verdict.trace[2].evidence)
  end)

  it("a grace counts from the transition of the row's own condition", function()
    local table_of = rules { { name = "A", condition = "X", grace = 10, when = holds(true), message = "a" } }
    local function at(status, since)
      return table_of:judge(facts { conditions = { X = { status = status, lastTransitionTime = time.format(since) } } })
    end
    assert.equal(10, table_of:judge(facts()).requeue_after)
    assert.equal(10, at("True", 0).requeue_after)
    assert.equal(7, at("False", 997).requeue_after)
    assert.is_nil(at("False", 997).failure)
    assert.equal("A", at("False", 990).failure.name)
    assert.is_nil(at("False", 990).requeue_after)
    assert.equal(10, at("False", 2000).requeue_after, "a clock that was ahead")
  end)

  it("while a row waits, its condition is not bad yet and its grace has not begun", function()
    local waiting = 30
    local table_of = rules { { name = "A", condition = "X", grace = 10, when = holds(true), message = "a",
      waits = function() return waiting end } }
    local verdict = table_of:judge(facts { conditions = { X = { status = "False", lastTransitionTime = time.format(0) } } })
    assert.is_nil(verdict.failure)
    assert.equal(30, verdict.by_condition.X.waiting)
    assert.equal(30, verdict.requeue_after)
    waiting = nil
    verdict = table_of:judge(facts { conditions = { X = { status = "Unknown", lastTransitionTime = time.format(0) } } })
    assert.equal(10, verdict.requeue_after)
  end)

  it("a quiet row says what it said, when only numbers differ", function()
    local table_of = rules { { name = "A", condition = "X", quiet = true, message = "exit code {code}{detail}",
      when = function(s) return { code = s.code, detail = s.detail } end } }
    local function said(code, detail, before, reason)
      return table_of:judge(facts { code = code, detail = detail,
        conditions = { X = { status = "False", reason = reason or "A", message = before } } }).by_condition.X.message
    end
    assert.equal("exit code 1: at 10:00", said(1, ": at 11:30", "exit code 1: at 10:00"))
    assert.equal("exit code 2: at 11:30", said(2, ": at 11:30", "exit code 1: at 10:00"), "what the row itself says is always so")
    assert.equal("exit code 1: other 11:30", said(1, ": other 11:30", "exit code 1: at 10:00"))
    assert.equal("exit code 1: at 10:00", said(1, "", "exit code 1: at 10:00"), "nothing new takes nothing away")
    assert.equal("exit code 1", said(1, "", "exit code 12: at 10:00"))
    assert.equal("exit code 1: at 11:30", said(1, ": at 11:30", "exit code 1: at 10:00", "B"))
    assert.has_error(function() rules { { name = "A", condition = "X", quiet = true, message = "{detail}.", when = holds(true) } } end)
  end)

  it("a row below another of the same condition waits with it", function()
    local verdict = rules {
      { name = "A", condition = "X", grace = 10, when = holds(true), message = "a" },
      { name = "B", condition = "X", when = holds(true), message = "b" },
    }:judge(facts())
    assert.is_nil(verdict.failure)
    assert.equal("A", verdict.by_condition.X.name)
  end)

  it("that lack something are refused with the row's name", function()
    assert.has_error(function() rules { { name = "A", condition = "X", when = holds(true) } } end)
    assert.has_error(function() phases { { "A", message = "a", when = "always" } } end)
  end)

  it("phases must have a row that always holds", function()
    local one = phases { { "A", when = function(s) return s.now == 1000 end, message = "now {now}" } }
    assert.equal("now 1000", one:judge(facts()).message)
    assert.has_error(function() one:judge(facts { now = 1 }) end)
  end)
end)
