# SPDX-License-Identifier: Apache-2.0
# The two commands a newcomer needs: `make demo` and `make test`. Both install the Debian packages of packages.txt that
# are missing (with sudo when not root), build, and run; a second call only builds what changed.
SHELL := /bin/bash
JOBS ?= $(shell nproc)
BUILD := build
MODEL := models-cache/SmolLM2-135M-Instruct.Q4_1.gguf

.PHONY: demo smollm2 test build setup test-asan test-tsan test-aarch64 test-slow soak test-clients bench bench-store format install clean

demo: build
	$(BUILD)/planish demo

# A small real model for the README's examples and the tests.
smollm2: $(MODEL)

test: build
	ctest --test-dir $(BUILD) -j $(JOBS) --output-on-failure --no-tests=error -E 'Slow$$'

build: setup
	@[ -f $(BUILD)/build.ninja ] || cmake --preset release
	cmake --build $(BUILD) -j $(JOBS)

setup:
	@tools/install_packages.sh

$(MODEL):
	tools/fetch_demo_model.sh $@

# The fast suite under AddressSanitizer and UndefinedBehaviorSanitizer.
test-asan: setup
	@[ -f build-asan/build.ninja ] || cmake --preset asan
	cmake --build build-asan -j $(JOBS)
	ctest --test-dir build-asan -j $(JOBS) --output-on-failure --no-tests=error -E 'Slow$$'

# The lower folders cross-compiled for 64-bit Arm, under emulation.
test-aarch64: setup
	@tools/install_packages.sh packages-aarch64.txt
	@[ -f build-aarch64/build.ninja ] || cmake --preset aarch64
	cmake --build build-aarch64 -j $(JOBS)
	tools/test_aarch64.sh $(JOBS)

# Long runs: many mutations, kill and resume, soak.
test-slow: build
	ctest --test-dir $(BUILD) --output-on-failure -R 'Slow$$'

# A server under every kind of load for SOAK_MINUTES; fails when an answer differs or memory grows.
SOAK_MINUTES ?= 60
soak: build
	SOAK_MINUTES=$(SOAK_MINUTES) $(BUILD)/serve_test --gtest_filter='ServerSoak.*'

# The threads of server and HTTP under ThreadSanitizer. One thread of OpenMP: its barriers are invisible to it.
test-tsan: setup
	@[ -f build-tsan/build.ninja ] || cmake --preset tsan
	cmake --build build-tsan -j $(JOBS) --target net_test serve_test
	OMP_NUM_THREADS=1 build-tsan/net_test --gtest_filter='-*Slow' --gtest_brief=1
	OMP_NUM_THREADS=1 build-tsan/serve_test --gtest_filter='-*Slow' --gtest_brief=1

# Real clients, installed from their registries into the build folder, against the running server: the openai packages of
# Python and Node, lm-evaluation-harness, the two-call budget client.
test-clients: build
	python3 -m venv $(BUILD)/clients-venv
	$(BUILD)/clients-venv/bin/pip install -q --no-deps --require-hashes -r tests/clients/requirements.txt
	mkdir -p $(BUILD)/clients-node
	cp tests/clients/package.json tests/clients/package-lock.json $(BUILD)/clients-node
	if command -v npm > /dev/null; then cd $(BUILD)/clients-node && npm ci --no-audit --no-fund; else echo 'no npm: Node is left out'; fi
	cmake $(BUILD) > /dev/null
	ctest --test-dir $(BUILD) --output-on-failure --no-tests=error -R 'ClientSlow$$'

# Speed of the kernels, and of the model where its file is there, as shares of this machine's own peaks, beside the stored
# ones of the same CPU. Losses over 5 % are marked. `make bench-store` keeps the figures of this run.
bench bench-store: build
	cmake --build $(BUILD) -j $(JOBS) --target benches
	tools/bench_guard.py --build $(BUILD) $(if $(wildcard $(MODEL)),--model $(MODEL)) $(if $(filter bench-store,$@),--store)

format:
	tools/format.sh

install: build
	cmake --install $(BUILD)

clean:
	rm -rf build build-asan build-tsan build-debug build-aarch64
