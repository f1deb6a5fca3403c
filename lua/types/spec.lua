---@meta
-- The words of specs (*_spec.lua): those of busted.

---A group of tests: its name stands before theirs. @param name string @param body fun()
function describe(name, body) end
---A test: it fails when the body raises. @param name string @param body fun()
function it(name, body) end
---What is done before each test of this group. @param setup fun()
function before_each(setup) end

---Each raises with both values when it does not hold; a message stands before them.
---@class spec_assert
---@overload fun(value: any, message: string|nil): any
assert = {}
---The very same value: numbers, texts, the same table. @param expected any @param actual any @param message string|nil
function assert.equal(expected, actual, message) end
assert.equals, assert.are_equal = assert.equal, assert.equal
---The same content, all the way down. @param expected any @param actual any @param message string|nil
function assert.same(expected, actual, message) end
assert.are_same = assert.same
---@param value any @param message string|nil
function assert.is_true(value, message) end
---@param value any @param message string|nil
function assert.is_false(value, message) end
---Anything but nil and false. @param value any @param message string|nil
function assert.truthy(value, message) end
assert.is_truthy = assert.truthy
---nil or false. @param value any @param message string|nil
function assert.falsy(value, message) end
assert.is_falsy = assert.falsy
---@param value any @param message string|nil
function assert.is_nil(value, message) end
---@param value any @param message string|nil
function assert.is_not_nil(value, message) end
---A text that has this pattern in it. @param pattern string @param text any @param message string|nil
function assert.matches(pattern, text, message) end
---A text that has these words in it, as they stand. @param part string @param text any @param message string|nil
function assert.contains(part, text, message) end
---A function that raises, with these words if they are given. @param fn fun() @param part string|nil @param message string|nil
function assert.has_error(fn, part, message) end
