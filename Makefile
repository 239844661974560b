# What a person and CI run. `make demo` and `make test` install what they need.

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
# The .deb that the image is made with.
PACKAGE ?=

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)

.PHONY: bench bench-size demo test fuzz lint deny docs screens instructions build release packages image image-test install clean \
	setup-bench setup-build setup-image-test setup-lab setup-machine setup-manual setup-packages

# $(call cargo_tool,NAME,VERSION): builds a tool of cargo's unless that version is here.
define cargo_tool
@$(1) --version 2>/dev/null | grep -qwF '$(2)' || { echo "building $(1) $(2), some minutes"; \
	cargo install --quiet --locked $(1) --version $(2); }
endef

# An evening on an emulated EC2 in a minute and a half, told live.
demo: setup-lab build
	target/lab/venv/bin/python tests/lab/demo.py target/debug/mc-idle

# All tests. As root also those that need root: network namespaces, a real systemd, a real NFS.
test: setup-lab setup-manual setup-machine
	cargo test --locked

# The golden image under QEMU, with a real NFS server as EFS and real players; ONLY="evening reboot" for some of its scenarios.
# Root, on Debian.
image-test: setup-lab setup-image-test image
	target/lab/venv/bin/python tests/image/run.py target/image/mc-idle.qcow2 $(ONLY)

# The parsers against made-up inputs, SECONDS_EACH for each of them. Needs a nightly toolchain, and says so without one.
fuzz:
	@tests/fuzz/run.sh $(SECONDS_EACH)

# docs/screens.md anew, from real runs of what it shows. Needs root on Debian 12.
screens: setup-lab setup-machine
	rm -rf target/screens && mkdir -p target/screens
	CI=true MC_IDLE_SCREENS=$(CURDIR)/target/screens cargo test --locked --test screens
	cat tests/screens/head.md target/screens/[1-9].md > docs/screens.md

# tests/instructions.json anew: how many instructions a look and the rule take. Needs valgrind.
instructions: setup-manual
	@# A single test does not build the examples.
	cargo build --locked --example sample-cost
	MC_IDLE_RENEW=1 CI=true cargo test --locked --test instructions

lint: setup-build
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps
	$(MAKE) deny

# Licences, sources and bans always; known vulnerabilities where the advisory database can be reached (DENY_ADVISORIES=1).
deny:
	$(call cargo_tool,cargo-deny,$(DENY_VERSION))
	cargo deny --locked check $(if $(DENY_ADVISORIES),,bans licenses sources)

# Man pages, completions, the shipped configuration and the README's table of keys, from the program's own definitions.
docs: setup-build
	cargo run --quiet --locked --example docs

build: setup-build
	cargo build --locked

release: setup-build
	cargo build --locked --release

# A .deb and an .rpm in target/packages.
packages: setup-build setup-packages
	@# The tests' binary is built with the features of the tests' own dependencies: no other build is needed where they have run.
	cargo $(if $(filter dev,$(PROFILE)),test --no-run,build --profile $(PROFILE)) --locked $(if $(TARGET),--target $(TARGET))
	$(if $(filter dev,$(PROFILE)),FAST=1) systemd/packaging/build.sh \
		target/$(if $(TARGET),$(TARGET)/)$(PROFILE:dev=debug)/mc-idle target/packages $(TARGET)
	@ls target/packages/*

# Needs `make release` before it, so that root does not have to build.
install:
	@test -x target/release/mc-idle || { echo "run make release first, as yourself" >&2; exit 1; }
	install -Dm755 target/release/mc-idle $(DESTDIR)$(PREFIX)/bin/mc-idle
	install -d $(DESTDIR)/usr/lib/systemd/system
	sed 's|/usr/bin/mc-idle|$(PREFIX)/bin/mc-idle|' systemd/mc-idle.service \
		> $(DESTDIR)/usr/lib/systemd/system/mc-idle.service
	install -Dm644 systemd/mc-idle.catalog $(DESTDIR)/usr/lib/systemd/catalog/mc-idle.catalog
	install -Dm644 systemd/mc-idle.sysusers $(DESTDIR)/usr/lib/sysusers.d/mc-idle.conf
	@# A configuration that is there belongs to the operator.
	test -e $(DESTDIR)/etc/mc-idle/config.toml \
		|| install -Dm644 systemd/mc-idle.toml $(DESTDIR)/etc/mc-idle/config.toml
	install -d $(DESTDIR)/etc/mc-idle/config.d
	install -Dm644 docs/man/mc-idle.8 $(DESTDIR)$(PREFIX)/share/man/man8/mc-idle.8
	install -Dm644 docs/man/mc-idle.toml.5 $(DESTDIR)$(PREFIX)/share/man/man5/mc-idle.toml.5
	install -Dm644 docs/completions/mc-idle.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/mc-idle
	install -Dm644 docs/completions/_mc-idle $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_mc-idle
	install -Dm644 docs/completions/mc-idle.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/mc-idle.fish
	install -Dm644 systemd/packaging/config.d.README $(DESTDIR)/etc/mc-idle/config.d/README

# The golden image for QEMU, target/image/mc-idle.qcow2: by Packer, from Debian 12, with the .deb of `make packages` or PACKAGE.
# As root on Debian 12; the AMI is built by the same template, see the README.
image: $(if $(PACKAGE),,packages)
	packer/debian/build.sh $(or $(PACKAGE),target/packages/mc-idle_$(VERSION)-1_amd64.deb)

clean:
	cargo clean

setup-build:
	tests/lab/setup.sh build

setup-image-test:
	tests/image/setup.sh

setup-lab:
	tests/lab/setup.sh lab

# What the manual is tried with, shells and man page programs, and what instructions are counted with: as root on Debian only,
# as above.
setup-manual:
	tests/lab/setup.sh manual

# Trees for the real systemd and the real NFS: made by root, from a Debian's own packages.
setup-machine:
	@if [ "$$(id -u)" = 0 ] && grep -qx ID=debian /etc/os-release; then tests/machine/setup.sh && tests/packer/setup.sh; \
	 else echo "not root on Debian: the tests in machines of their own will be skipped"; fi
	@if [ "$$(id -u)" = 0 ] && grep -qx ID=debian /etc/os-release; then $(MAKE) --no-print-directory setup-packages; fi

setup-packages:
	$(call cargo_tool,cargo-deb,$(DEB_VERSION))
	$(call cargo_tool,cargo-generate-rpm,$(RPM_VERSION))

# docs/benchmarks.md anew: what mc-idle costs beside what could be used instead, in one run; QUICK=1 for a rough one, ONLY="peers
# growth" for some of its measures. Root measures the most.
bench: setup-lab setup-bench
	cargo build --locked --release --bin mc-idle
	@# A target folder of its own: without the AWS SDK, and so not built in turn with the other.
	CARGO_TARGET_DIR=target/bench-build cargo build --locked --release --no-default-features $(addprefix --example ,sample-cost ready fleet)
	target/lab/venv/bin/python tests/bench/run.py $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))

# What the program's size is made of, by crate, on the same page: linked again, with symbols.
bench-size: setup-lab
	$(call cargo_tool,cargo-bloat,$(BLOAT_VERSION))
	target/lab/venv/bin/python tests/bench/run.py --only crates

setup-bench: setup-build
	tests/lab/setup.sh bench
