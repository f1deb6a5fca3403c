# moonphase: every task is a target. `make help` lists them.
MODE    ?= release
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
PREFIX  ?= /usr/local
B       := build/$(MODE)
CFLAGS  ?= -O2 -g
PKGS    := lua5.4 libcurl yaml-0.1 libcjson libuv libmicrohttpd gnutls libcrypto liblz4
WARN    := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wwrite-strings -Wundef -Wvla -Wformat=2 -Wconversion
OURS    := -std=c11 -D_GNU_SOURCE $(WARN) $(if $(CI),-Werror) -Icore -Ispec
ifeq ($(MODE),asan)
OURS    += -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
LDFLAGS += -fsanitize=address,undefined
endif
LIBS    = $(shell pkg-config --libs $(PKGS)) -lpthread -lm
INCS    = $(shell pkg-config --cflags $(PKGS))

SOURCES := $(filter-out core/command/%,$(wildcard core/*/*.c))
OBJECTS := $(SOURCES:%.c=$(B)/%.o)
COMMAND := $(patsubst %.c,$(B)/%.o,$(wildcard core/command/*.c)) $(B)/assets.o
ASSETS  := $(sort $(shell find lua policies crds -type f 2>/dev/null | grep -vE '^lua/types/|\.md$$'))
TESTS   := $(patsubst spec/host/%.c,$(B)/spec/%,$(wildcard spec/host/*_test.c))
SUPPORT := $(patsubst %.c,$(B)/%.o,$(filter-out %_test.c,$(wildcard spec/host/*.c)))

.PHONY: all help deps run test check lint asan valgrind fuzz bench install clean FORCE
all: build/moonphase ## build the program

help: ## this list
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' Makefile

deps: ## Debian packages, when they are missing
	@spec/deps

build/.deps: spec/deps
	@spec/deps && mkdir -p build && touch $@

build/moonphase: $(B)/moonphase
	@ln -sf $(MODE)/moonphase $@

$(B)/moonphase: $(COMMAND) $(B)/libmoonphase.a
	@echo "  link $@" && $(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

$(B)/libmoonphase.a: $(OBJECTS)
	@rm -f $@ && ar rcs $@ $^

$(B)/%.o: %.c Makefile | build/.deps
	@mkdir -p $(@D) && echo "  cc $<" && $(CC) $(OURS) $(INCS) $(CFLAGS) -MMD -MP -c $< -o $@

# The one object that knows the version is built anew when that is another one.
$(B)/core/base/version.o: OURS += -DMOONPHASE_VERSION='"$(VERSION)"'
$(B)/core/base/version.o: $(B)/version
$(B)/version: FORCE
	@mkdir -p $(@D) && echo '$(VERSION)' | cmp -s - $@ || echo '$(VERSION)' > $@

$(B)/assets.S: $(ASSETS) spec/assets Makefile
	@mkdir -p $(@D) && spec/assets $(ASSETS) > $@
$(B)/assets.o: $(B)/assets.S
	@$(CC) -c $< -o $@

$(B)/spec/%: $(B)/spec/host/%.o $(SUPPORT) $(B)/libmoonphase.a
	@$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)
$(addprefix $(B)/spec/bench/,replay load reviews): $(B)/spec/bench/%: $(B)/spec/bench/%.o $(B)/libmoonphase.a
	@$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)
$(B)/spec/bench/reviews: LIBS += -lssl
.SECONDARY:

run: build/moonphase ## a simulated cluster (CLUSTER=kube: a real one), the operator, the samples; ONCE=1 walks the lifecycle
	@spec/run-cluster $(if $(ONCE),--once)

test: build/moonphase $(TESTS) ## everything: C unit tests, Lua specs, the lifecycle on a real control plane
	@spec/run-tests $(TESTS)

check: build/moonphase ## the shipped policies in every state that two events lead to (make test tries a part of them), and long stories
	@build/moonphase check policies --seconds all --stories 1000

lint: build/.deps ## compiler warnings as errors, luacheck, the rules of the house
	@spec/lint

asan: ## the C tests and Lua specs under AddressSanitizer and UBSan
	@$(MAKE) --no-print-directory MODE=asan build-tests && MOONPHASE=build/asan/moonphase spec/run-tests --host-only $(patsubst build/$(MODE)/%,build/asan/%,$(TESTS))
build-tests: $(B)/moonphase $(TESTS)

valgrind: build/moonphase $(TESTS) ## the C tests under valgrind
	@MOONPHASE_SLOW=1 WRAP="valgrind -q --error-exitcode=9 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite --max-threads=4000" spec/run-tests --host-only $(TESTS)

fuzz: build/.deps ## each fuzz target for SECONDS (default 30)
	@spec/fuzz/run $(or $(SECONDS),30)

bench: build/moonphase ## memory, a storm, latency and rest on a real API server, each beside its goal
	@spec/bench/run

install: build/moonphase ## into DESTDIR and PREFIX
	install -D -m 755 build/moonphase $(DESTDIR)$(PREFIX)/bin/moonphase

clean: ## forget what was built
	rm -rf build

-include $(OBJECTS:.o=.d) $(COMMAND:.o=.d) $(patsubst $(B)/spec/%,$(B)/spec/host/%.d,$(TESTS)) $(SUPPORT:.o=.d)
