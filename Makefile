# `make demo` shows the whole way from a pretrained encoder to a validated program; `make test` runs all but the slow tests.
# Both set up what they need: Debian packages (as root or with sudo), a virtual environment, the Arm wheel.

PYTHON ?= python3
VENV ?= $(CURDIR)/.venv
BIN := $(VENV)/bin
DEMO := demo
WORKERS ?= 2
RAW ?= 10000
RESEALED ?= 2000
HARNESS_INPUTS ?= 100000
HARNESS_SECONDS ?= 60

# command or file that shows a package is there = the Debian package that brings it
SYSTEM := g++=g++ aarch64-linux-gnu-g++=g++-aarch64-linux-gnu qemu-aarch64-static=qemu-user-static
TESTS := /usr/sbin/sshd=openssh-server ssh=openssh-client javac=openjdk-17-jdk-headless \
  qemu-aarch64=qemu-user llvm-mca-19=llvm-19
LONG := chromium=chromium debootstrap=debootstrap
BOARD := qemu-system-aarch64=qemu-system-arm debootstrap=debootstrap /usr/sbin/mke2fs=e2fsprogs
ANDROID := aapt2=aapt zipalign=zipalign apksigner=apksigner dexdump=dexdump enjarify=enjarify npm=npm \
  aarch64-linux-gnu-gcc=gcc-aarch64-linux-gnu /usr/share/android-framework-res/framework-res.apk=android-framework-res
FUZZ := clang++=clang \
  /usr/lib/llvm-14/lib/clang/14.0.6/lib/linux/libclang_rt.fuzzer-x86_64.a=libclang-rt-14-dev
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

.PHONY: help setup system demo test test-long test-board test-board-long test-android lint fuzz sanitize lock clean
help:
	@sed -n 's/^#: //p' $(MAKEFILE_LIST)

#: make setup   set up .venv and the Debian packages
setup: system $(VENV)/.installed

system:
	@missing=""; for pair in $(SYSTEM); do \
	  command -v $${pair%%=*} >/dev/null || [ -f $${pair%%=*} ] || missing="$$missing $${pair#*=}"; done; \
	if [ -n "$$missing" ]; then echo "installing:$$missing"; \
	  $(SUDO) apt-get update -qq && \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; fi

$(VENV)/.packages: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q torch==2.13.0
	$(BIN)/python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
	  print('\n'.join(p['dependencies'] + p['optional-dependencies']['dev']))" > $(VENV)/requirements.txt
	$(BIN)/pip install -q -r $(VENV)/requirements.txt
	touch $@

# Editable: an edit needs no new install.
$(VENV)/.installed: $(VENV)/.packages
	$(BIN)/pip install -q --no-deps --no-build-isolation -e .
	touch $@

#: make lint    ruff and mypy
lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

#: make test    set up, lint, and run all tests but those of test-long
test: lint
	@$(MAKE) --no-print-directory system SYSTEM="$(TESTS)"
	$(BIN)/spartanc setup rpi4
	$(BIN)/pytest -n $(WORKERS) --dist loadfile -m "not long" tests

#: make test-long   the tests that take minutes each
test-long: setup
	@$(MAKE) --no-print-directory system SYSTEM="$(TESTS) $(LONG)"
	$(BIN)/spartanc setup rpi4
	$(BIN)/pytest -m long tests

#: make test-board   the tests on a whole emulated board: kernel, sshd, 1 GB, and power cuts (see docs/board.md)
test-board: setup
	@$(MAKE) --no-print-directory system SYSTEM="$(TESTS) $(BOARD)"
	$(BIN)/spartanc setup rpi4
	$(BIN)/pytest -v -m "not long" tests/board --durations=0 --durations-min=1

#: make test-board-long   the same with large numbers of cuts, requests and texts; a second call goes on from the first
test-board-long: setup
	@$(MAKE) --no-print-directory system SYSTEM="$(TESTS) $(BOARD)"
	$(BIN)/spartanc setup rpi4
	$(BIN)/pytest tests/board -v -s --go-on --durations=0 --durations-min=1

#: make test-android   every check of the Android demo that needs no SDK and no phone
test-android: setup
	@$(MAKE) --no-print-directory system SYSTEM="$(TESTS) $(ANDROID)"
	$(BIN)/python android_demo/checks/run.py

#: make fuzz    10,000 raw and 2,000 resealed changes of every kind of file, and the harnesses of the C interface
fuzz: setup sanitize
	$(BIN)/python tests/fuzz/campaign.py --raw $(RAW) --resealed $(RESEALED)

# Every harness with g++ and a driver of our own, the fuzzers once more with clang's libFuzzer.
#: make sanitize   kernels, session and readers under ASan and UBSan, our threads under TSan, with large numbers
sanitize: setup
	@$(MAKE) --no-print-directory system SYSTEM="$(FUZZ)"
	$(BIN)/python tests/fuzz/harnesses.py --count $(HARNESS_INPUTS) --seconds $(HARNESS_SECONDS)

#: make lock    write requirements.lock anew
lock:
	$(PYTHON) .ci/lock.py

#: make demo    a real encoder and real questions, from training to a proved program for a Raspberry Pi
demo: setup
	$(BIN)/spartanc setup rpi4
	$(BIN)/python -m spartanc.models.datasets $(DEMO)/data --task trec --encoder minilm
	$(BIN)/python -m spartanc.models.datasets $(DEMO)/few --task sms --train-rows 1000
	BIN=$(BIN) DEMO=$(DEMO) sh benchmarks/demo.sh

#: make clean   remove what make made
clean:
	rm -rf $(VENV) $(DEMO) build *.egg-info
