# For people and CI. `make demo` and `make test` install what they need.

SHELL := /bin/bash
PREFIX ?= /usr
DESTDIR ?=
DENY_VERSION := 0.20.2
DEB_VERSION := 3.8.0
RPM_VERSION := 0.21.1
BLOAT_VERSION := 0.12.1
SECONDS_EACH ?= 60
# Of the packages: release, or dev for the binary that the tests use; and another Rust target than this machine's.
PROFILE ?= release
TARGET ?=
PROGRAMS ?= mc-idle mc-broker
# The .deb that the image is made with, and an image that is there already.
PACKAGE ?=
IMAGE ?=

# arm64 can be built on x86_64, with more than cargo alone; elsewhere TARGET is what rustup has a std for.
CARGO := $(if $(filter aarch64-unknown-linux-gnu,$(TARGET)),tests/arm64/cargo.sh,cargo)
ARCHITECTURE := $(patsubst aarch64,arm64,$(or $(firstword $(subst -, ,$(TARGET))),$(shell uname -m)))

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)

.PHONY: bench bench-size demo start-demo evening deploy first-deploy undeploy test release-check first-stop fuzz lint deny docs screens pictures \
	instructions build release launcher packages arm64-test image image-test install clean \
	setup-arm64 setup-bench setup-build setup-cloud setup-image-test setup-lab setup-machine setup-manual setup-packages setup-release setup-stack setup-test

# $(call cargo_tool,NAME,VERSION): builds a tool of cargo's unless that version is here.
define cargo_tool
@$(1) --version 2>/dev/null | grep -qwF '$(2)' || { echo "building $(1) $(2), some minutes"; \
	cargo install --quiet --locked $(1) --version $(2); }
endef

# An evening on an emulated EC2 in a minute and a half, with live output.
demo: setup-lab build
	target/lab/venv/bin/python tests/lab/demo.py target/debug/mc-idle

# A friend starts the server: the launcher as two functions of an emulated Lambda, in two and a half minutes, with live output.
start-demo: setup-lab setup-cloud build
	cargo build --locked -p mc-launcher
	target/lab/venv/bin/python tests/lab/start_demo.py target/debug/mc-launcher target/debug/mc-idle

# The variables of the command line, each quoted for the shell.
overrides = $(foreach name,$(sort $(foreach word,$(MAKEOVERRIDES),$(firstword $(subst =, ,$(word))))),$(if \
	$(filter command,$(firstword $(origin $(name)))),'$(name)=$(subst ','\'',$($(name)))'))

# Deploys a server: stack, launcher, keys, instance. make deploy SERVER=survival [Mode=launch Email=me@example.org ...]; see
# docs/deploy.md. Needs the AWS CLI 2; builds what it uploads, unless Zip=FILE and Package=FILE name files of a release.
deploy:
	@deploy/deploy.sh $(overrides)

# Regenerates docs/first-deploy.md: the way of somebody new, in a fresh clone, beside an emulated AWS. An hour, or with
# FILES="ZIP RPM", of a release, three minutes.
first-deploy: setup-lab setup-stack
	target/lab/venv/bin/python tests/deploy/first_deploy.py docs/first-deploy.md $(FILES)

# Takes it down again, and says what stays: make undeploy SERVER=survival
undeploy:
	@deploy/undeploy.sh $(overrides)

# All tests. As root also those that need root: network namespaces, a real systemd, a real NFS.
test: setup-test
	cargo test --locked --workspace --no-fail-fast

# The golden image under QEMU, with a real NFS server as EFS and real players; ONLY="evening reboot" for some of its scenarios.
# Root, on Debian.
image-test: setup-lab setup-image-test image
	target/lab/venv/bin/python tests/image/run.py target/image/mc-idle.qcow2 $(ONLY)

# Builds packages and launcher for arm64 and tries them, on x86_64 under QEMU's user mode emulation. ONLY="check agent" for
# some of its parts. On Debian 12.
arm64-test: setup-lab setup-cloud
	tests/arm64/setup.sh test
	$(MAKE) packages launcher TARGET=aarch64-unknown-linux-gnu
	target/lab/venv/bin/python tests/arm64/run.py $(ONLY)

# The whole system live, from a press of the page's button to asleep again; ONLY="evening dead scanners" for more evenings.
# IMAGE=FILE takes an image that is there. As root on Debian 12.
evening: setup-lab setup-stack setup-manual setup-image-test $(if $(IMAGE),,image)
ifeq ($(PROFILE),dev)
	$(if $(IMAGE),cargo test --no-run --workspace --locked)
else
	cargo build --profile $(PROFILE) --locked -p mc-launcher
	cargo build --profile $(PROFILE) --locked -p mc-broker
endif
	target/lab/venv/bin/python tests/evening/run.py target/$(PROFILE:dev=debug)/mc-launcher \
		target/$(PROFILE:dev=debug)/mc-broker $(or $(IMAGE),target/image/mc-idle.qcow2) $(ONLY)

# Of a release: the architectures, as Debian calls them, and a folder with its files instead of building them.
ARCHITECTURES ?=
ARTEFACTS ?=
RELEASE_FILES = $(or $(ARTEFACTS),target/release-check/files)

# A release, built and checked as far as that can be done without the forge: docs/releasing.md. As root on Debian.
# ARCHITECTURES="amd64 arm64" for both, ARTEFACTS=folder for the files of one that is there already.
release-check: setup-release
	$(if $(ARTEFACTS),,tests/release/build.sh $(RELEASE_FILES) $(ARCHITECTURES))
	tests/release/check.py all $(RELEASE_FILES) $(ARCHITECTURES)

# Regenerates docs/first-stop.md: the way of somebody new, from a release's package to the first stop. As root on Debian 12.
first-stop: setup-lab setup-machine setup-release
	$(if $(ARTEFACTS),,tests/release/build.sh $(RELEASE_FILES) $(ARCHITECTURES))
	target/lab/venv/bin/python tests/release/first_stop.py $(RELEASE_FILES) docs/first-stop.md

# Fuzzes each parser for SECONDS_EACH. Needs a nightly toolchain; without one it says so and does nothing.
fuzz:
	@tests/fuzz/run.sh $(SECONDS_EACH)

# Regenerates docs/screens.md from real runs. Needs root on Debian 12.
screens: setup-lab setup-machine
	rm -rf target/screens && mkdir -p target/screens
	CI=true MC_IDLE_SCREENS=$(CURDIR)/target/screens cargo test --locked --workspace --test screens
	cat tests/screens/head.md target/screens/[1-9].md > docs/screens.md

# Regenerates docs/launcher/*.png, pictures of the launcher's page in each state. Needs root on Debian.
pictures: setup-manual
	MC_LAUNCHER_PICTURES=$(CURDIR)/docs/launcher CI=true cargo test --locked -p mc-launcher --test launcher pictures

# Regenerates tests/tools/instructions.json: how many instructions a look and the rule take. Needs valgrind.
instructions: setup-manual
	MC_IDLE_RENEW=1 CI=true cargo test --locked --workspace --test instructions

lint: setup-build
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps
	python3 tests/deploy/costs.py --check
	$(MAKE) deny

# Licences, sources and bans always; known vulnerabilities where the advisory database can be reached (DENY_ADVISORIES=1).
deny:
	$(call cargo_tool,cargo-deny,$(DENY_VERSION))
	cargo deny --locked check $(if $(DENY_ADVISORIES),,bans licenses sources)

# Man pages, completions, the shipped configurations and the tables of keys in docs/configuration.md and
# docs/broker-configuration.md, from the programs' own definitions; the tables of docs/costs.md, from deploy/prices.tsv.
docs: setup-build
	cargo run --quiet --locked -p mc-idle-tools --bin docs
	python3 tests/deploy/costs.py

build: setup-build
	cargo build --locked

release: setup-build
	cargo build --locked --release
	cargo build --locked --release -p mc-broker

# The launcher for Lambda, target/launcher/mc-launcher-x86_64.zip; for arm64 with TARGET=aarch64-unknown-linux-gnu,
# mc-launcher-arm64.zip.
launcher: setup-build
	$(CARGO) build --locked --release -p mc-launcher $(if $(TARGET),--target $(TARGET))
	@mkdir -p target/launcher
	@python3 -c 'import sys, zipfile; \
		entry = zipfile.ZipInfo("bootstrap"); entry.external_attr = 0o755 << 16; \
		entry.compress_type = zipfile.ZIP_DEFLATED; \
		zipfile.ZipFile(sys.argv[2], "w").writestr(entry, open(sys.argv[1], "rb").read(), compresslevel=9)' \
		target/$(if $(TARGET),$(TARGET)/)release/mc-launcher target/launcher/mc-launcher-$(ARCHITECTURE).zip
	@ls -l target/launcher/mc-launcher-$(ARCHITECTURE).zip

# A .deb and an .rpm of the agent, and of the broker, in target/packages; PROGRAMS=mc-idle for those of one. For arm64 with
# TARGET=aarch64-unknown-linux-gnu.
packages: setup-build setup-packages
ifeq ($(PROFILE),dev)
	@# As `make test` builds them, with the features of the tests' dependencies: after a test run nothing is left to build.
	$(CARGO) test --no-run --workspace --locked $(if $(TARGET),--target $(TARGET))
else
	@# One by one: together, each would have the features that only the other needs.
	$(foreach program,$(PROGRAMS),$(call build_program,$(program)))
endif
	$(foreach program,$(PROGRAMS),$(call pack,$(program)))
	@ls target/packages/*

# $(call build_program,PROGRAM)
define build_program
	$(CARGO) build --profile $(PROFILE) --locked -p $(1) $(if $(TARGET),--target $(TARGET))

endef

# $(call pack,PROGRAM): its packages, from the binary in the folder of the profile.
define pack
	$(if $(filter dev,$(PROFILE)),FAST=1) systemd/packaging/build.sh $(1) \
	target/$(if $(TARGET),$(TARGET)/)$(PROFILE:dev=debug)/$(1) target/packages $(TARGET)

endef

# What has been built before, by `make release` or `make packages`, so that root does not have to build.
install:
	@test -x target/release/mc-idle || { echo "run make release first, as yourself" >&2; exit 1; }
	$(foreach program,mc-idle $(notdir $(wildcard target/release/mc-broker)),$(call install_program,$(program)))

# $(call install_program,PROGRAM)
define install_program
	install -Dm755 target/release/$(1) $(DESTDIR)$(PREFIX)/bin/$(1)
	install -d $(DESTDIR)/usr/lib/systemd/system
	sed 's|/usr/bin/$(1)|$(PREFIX)/bin/$(1)|' systemd/$(1).service > $(DESTDIR)/usr/lib/systemd/system/$(1).service
	install -Dm644 systemd/$(1).catalog $(DESTDIR)/usr/lib/systemd/catalog/$(1).catalog
	install -Dm644 systemd/$(1).sysusers $(DESTDIR)/usr/lib/sysusers.d/$(1).conf
	@# A configuration that is there belongs to the operator.
	test -e $(DESTDIR)/etc/$(1)/config.toml || install -Dm644 systemd/$(1).toml $(DESTDIR)/etc/$(1)/config.toml
	install -d $(DESTDIR)/etc/$(1)/config.d
	install -Dm644 docs/man/$(1).8 $(DESTDIR)$(PREFIX)/share/man/man8/$(1).8
	install -Dm644 docs/man/$(1).toml.5 $(DESTDIR)$(PREFIX)/share/man/man5/$(1).toml.5
	install -Dm644 docs/completions/$(1).bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/$(1)
	install -Dm644 docs/completions/_$(1) $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_$(1)
	install -Dm644 docs/completions/$(1).fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/$(1).fish
	install -Dm644 systemd/packaging/$(if $(filter mc-broker,$(1)),broker-)config.d.README $(DESTDIR)/etc/$(1)/config.d/README

endef

# The golden image for QEMU, target/image/mc-idle.qcow2: by Packer, from Debian 12, with the .deb of `make packages` or PACKAGE.
# As root on Debian 12; the AMI is built by the same template, see docs/by-hand.md.
image: $(if $(PACKAGE),,packages)
	packer/debian/build.sh $(or $(PACKAGE),target/packages/mc-idle_$(VERSION)-1_amd64.deb)

clean:
	cargo clean

setup-build: $(if $(filter aarch64-unknown-linux-gnu,$(TARGET)),setup-arm64)
	tests/lab/setup.sh build

setup-arm64:
	tests/arm64/setup.sh

setup-cloud:
	tests/lab/setup.sh cloud

setup-image-test:
	tests/image/setup.sh

setup-lab:
	tests/lab/setup.sh lab

# All that `make test` needs.
setup-test: setup-lab setup-manual setup-machine setup-stack

# Shells and man page programs for the tests of the manual, and valgrind for counting instructions: as root on Debian only.
setup-manual:
	tests/lab/setup.sh manual

# File trees for a real systemd and a real NFS: made by root, from Debian's packages.
setup-machine:
	@if [ "$$(id -u)" = 0 ] && grep -qx ID=debian /etc/os-release; then tests/machine/setup.sh && tests/packer/setup.sh; \
	 else echo "not root on Debian: the tests in machines of their own will be skipped"; fi
	@if [ "$$(id -u)" = 0 ] && grep -qx ID=debian /etc/os-release; then $(MAKE) --no-print-directory setup-packages; fi

# An emulated AWS, its command line, and what judges the stack's template.
setup-stack:
	tests/lab/setup.sh stack

setup-release:
	tests/release/setup.sh

setup-packages:
	$(call cargo_tool,cargo-deb,$(DEB_VERSION))
	$(call cargo_tool,cargo-generate-rpm,$(RPM_VERSION))

# Regenerates docs/benchmarks.md: what mc-idle costs compared with the alternatives, in one run. QUICK=1 for a rough run,
# ONLY="peers growth" for some of the measures. Some are left out without root.
bench: setup-lab setup-bench
	cargo build --locked --release --bin mc-idle
	cargo build --locked --release -p mc-launcher
	cargo build --locked --release -p mc-broker
	@# In a target folder of their own, without the AWS SDK.
	CARGO_TARGET_DIR=target/bench-build cargo build --locked --release -p mc-idle-tools --bins
	target/lab/venv/bin/python tests/bench/run.py $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))

# The program's size by crate, on the same page: built again, with symbols.
bench-size: setup-lab
	$(call cargo_tool,cargo-bloat,$(BLOAT_VERSION))
	target/lab/venv/bin/python tests/bench/run.py --only crates

setup-bench: setup-build
	tests/lab/setup.sh bench
