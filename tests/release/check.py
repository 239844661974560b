#!/usr/bin/env python3
"""Checks a release as far as that can be done without the forge.

Prints one line for each thing. The exit code is 1 if one FAILED.

    tests/release/check.py source [--tag v1.2.3]               version, CHANGELOG, install lines, workflow
    tests/release/check.py built FOLDER ARCHITECTURE...        what was built for these architectures (amd64, arm64)
    tests/release/check.py complete FOLDER ARCHITECTURE...     the whole of it: no more and no less, checksums, SBOMs
    tests/release/check.py all FOLDER [ARCHITECTURE...]        all three; for the architectures that FOLDER has files of
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True  # nothing generated among the sources
import again  # noqa: E402
import changelog  # noqa: E402
import contents  # noqa: E402
import elf  # noqa: E402
import packages  # noqa: E402
import sbom  # noqa: E402
import source  # noqa: E402
from report import Report, expect, printed  # noqa: E402

WORK = contents.PROJECT / "target/release-check"
WORKFLOW = contents.PROJECT / ".github/workflows/release.yml"


def check_source(report, tag):
    with report.line("version") as said:
        expect(not (wrong := changelog.problem(tag)), wrong)
        said.append(f"{changelog.version()} in Cargo.toml and CHANGELOG.md" + (f"; the tag is {tag}" if tag else ""))
    with report.line("install lines") as said:
        expect(not (others := changelog.other_versions()), f"not of this version: {', '.join(others)}")
        said.append("README.md and docs name this version")
    tools = WORK / "venv/bin"
    with report.line("workflow, schema") as said:
        printed(tools / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", WORKFLOW)
        said.append("it is a workflow")
    with report.line("workflow, actionlint") as said:
        printed(tools / "actionlint", "-no-color", WORKFLOW)
        said.append("nothing found")
    with report.line("workflow, zizmor") as said:
        printed(tools / "zizmor", "--offline", "--quiet", "--no-progress", WORKFLOW)
        said.append("nothing found")


class Built:
    """The files for one architecture."""

    def __init__(self, report, folder, architecture, work):
        self.report, self.folder, self.architecture, self.work = report, folder, architecture, work
        kernel, number = contents.ARCHITECTURES[architecture][1], changelog.version()
        self.debs = {program: f"{program}_{number}-1_{architecture}.deb" for program in packages.SERVICES}
        self.rpms = {program: f"{program}-{number}-1.{kernel}.rpm" for program in packages.SERVICES}
        self.zip = f"mc-launcher-{'arm64' if architecture == 'arm64' else kernel}.zip"
        self.binaries = {}

    def check(self):
        for program in packages.SERVICES:
            self.check_package(self.debs[program], program, packages.check_deb)
            self.check_package(self.rpms[program], program, packages.check_rpm)
            with self.report.line(f"{self.debs[program]}, lintian") as said:
                said.append(packages.lint_deb(self.path(self.debs[program])))
        with self.report.line(self.zip) as said:
            binary, text = packages.check_zip(self.path(self.zip), self.work / self.zip)
            self.binaries["mc-launcher"] = [binary]
            said.append(text)
        for program, binaries in self.binaries.items():
            with self.report.line(self.title(program)) as said:
                digests = {packages.digest(binary) for binary in binaries}
                expect(len(digests) == 1, "the .deb and the .rpm hold different programs")
                said.append(elf.check(binaries[0], self.architecture))

    def title(self, program):
        return f"{program} for {self.architecture}"

    def path(self, name):
        expect((self.folder / name).is_file(), f"is not in {self.folder}")
        return self.folder / name

    def check_package(self, name, program, look):
        with self.report.line(name) as said:
            folder = self.work / name
            folder.mkdir(parents=True)
            binary, text = look(self.path(name), program, self.architecture, folder)
            self.binaries.setdefault(program, []).append(binary)
            said.append(text)

    def check_where_it_was_built(self):
        """What needs a machine that can run and pack it."""
        for program, binaries in self.binaries.items():
            with self.report.line(f"{self.title(program)}, --version") as said:
                said.append(elf.check_runs(binaries[0], program, self.architecture))
        copy = WORK / "again"
        source.copy(copy)
        for program in packages.SERVICES:
            if program not in self.binaries:
                continue  # has failed already
            deb, rpm = self.debs[program], self.rpms[program]
            packed = None
            with self.report.line(f"{rpm}, time") as said:
                again.check_time(self.path(rpm))
                said.append("the commit's")
            with self.report.line(f"{deb}, reproducible") as said:
                time = again.time_in(self.path(rpm))
                packed = again.pack(program, self.binaries[program][0], self.architecture, time, copy)
                said.append(again.check(self.path(deb), packed / deb))
            with self.report.line(f"{rpm}, reproducible") as said:
                expect(packed, "was not packed again, see above")
                said.append(again.check(self.path(rpm), packed / rpm))
        with self.report.line(f"{self.zip}, reproducible") as said:
            said.append(again.check_zip(self.path(self.zip)))


def check_whole(report, folder, architectures, builts):
    with report.line("contents") as said:
        wanted, found = set(contents.names(architectures)), {path.name for path in folder.iterdir()}
        expect(not wanted - found, f"missing: {', '.join(sorted(wanted - found))}")
        expect(not found - wanted, f"not in contents.txt: {', '.join(sorted(found - wanted))}")
        said.append(f"the {len(found)} files of contents.txt for {' and '.join(architectures)}")
    with report.line(contents.SUMS) as said:
        sums = folder / contents.SUMS
        expect(sums.is_file(), "is not there")
        listed = {line.split("  ", 1)[1] for line in sums.read_text().splitlines()}
        others = {path.name for path in folder.iterdir()} - {contents.SUMS}
        expect(listed == others, f"lists {sorted(listed ^ others)} too many or too few")
        printed("sha256sum", "--check", "--strict", contents.SUMS, cwd=folder)
        said.append(f"sha256sum --check: {len(listed)} files match")
    for program in contents.PROGRAMS:
        path = folder / sbom.name(program)
        with report.line(path.name) as said:
            expect(path.is_file(), "is not there")
            said.append(sbom.check(program, path))
        for built in builts:
            if program in built.binaries:
                with report.line(f"{path.name}, {built.architecture}") as said:
                    said.append(sbom.check_binary(path, built.binaries[program][0]))


def check_files(report, folder, architectures, command):
    with tempfile.TemporaryDirectory(prefix="mc-idle-release-") as work:
        builts = [Built(report, folder, name, Path(work) / name) for name in architectures]
        for built in builts:
            built.check()
            if command != "complete":
                built.check_where_it_was_built()
        if command != "built":
            check_whole(report, folder, architectures, builts)


def main():
    options = argparse.ArgumentParser(description="Checks a release; see the head of this file")
    commands = options.add_subparsers(dest="command", required=True)
    commands.add_parser("source").add_argument("--tag")
    for command, number in (("built", "+"), ("complete", "+"), ("all", "*")):
        parser = commands.add_parser(command)
        parser.add_argument("folder", type=Path)
        parser.add_argument("architectures", nargs=number, metavar="architecture")
    given = options.parse_args()
    report = Report()
    if given.command in ("source", "all"):
        check_source(report, getattr(given, "tag", None))
    if given.command != "source":
        if not given.folder.is_dir():
            options.error(f"{given.folder} is no folder")
        architectures = given.architectures or contents.architectures_in(given.folder)
        if unknown := set(architectures) - set(contents.ARCHITECTURES):
            options.error(f"there is no release for {', '.join(sorted(unknown))}")
        check_files(report, given.folder, architectures, given.command)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
