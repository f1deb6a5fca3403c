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
