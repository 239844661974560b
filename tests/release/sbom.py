"""What a program is made of, as CycloneDX: made by cargo-cyclonedx, and compared with what cargo links.

One document is for a program on both architectures."""

import json
import os
import re
import subprocess

import source
from changelog import version
from contents import ARCHITECTURES, PROJECT
from report import Failure, expect, printed

# Where a panic in a crate's code says that it is from; the linker leaves out of a program what nothing calls.
CRATE = re.compile(rb"/registry/src/[^/\0]+/([\w-]+?)-(\d+\.\d+\.\d+[^/\0]*)/")


def name(program):
    return f"{program}-{version()}.cdx.json"


def make(programs, folder, work):
    """The documents of these programs, in `folder`."""
    source.copy(work)
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(source.commit_time())}
    subprocess.run(
        ["cargo", "cyclonedx", "--quiet", "--format", "json", "--spec-version", "1.5", "--describe", "binaries",
         "--target", "all"],
        cwd=work, env=environment, check=True,
    )
    for program in programs:
        found = list(work.glob(f"**/{program}_bin.cdx.json"))
        expect(len(found) == 1, f"cargo cyclonedx has made {len(found)} documents for {program}")
        (folder / name(program)).write_text(found[0].read_text())


def linked(program):
    """Name and version of every crate that is linked into the program on one of the architectures."""
    crates = set()
    for target, _, _ in ARCHITECTURES.values():
        tree = printed(
            "cargo", "tree", "--locked", "--package", program, "--edges", "normal,no-proc-macro", "--target", target,
            "--prefix", "none", "--no-dedupe", "--format", "{p}", cwd=PROJECT,
        )
        crates |= {tuple(line.split()[:2]) for line in tree.splitlines() if line}
    return {(crate, number.removeprefix("v")) for crate, number in crates}


def components(document):
    """Every component in it, those within others too: name, version, licences."""
    main = document["metadata"]["component"]
    for component in [main, *document["components"]]:
        yield component["name"], component["version"], component.get("licenses", [])


def check(program, path):
    try:
        document = json.loads(path.read_text())
    except ValueError as error:
        raise Failure(f"is no JSON: {error}") from None
    expect(document.get("bomFormat") == "CycloneDX", "is no CycloneDX")
    main = document["metadata"]["component"]
    expect((main["name"], main["version"]) == (program, version()), f"is about {main['name']} {main['version']}")
    expect(str(PROJECT) not in path.read_text() and "file://" not in path.read_text(), "names a folder of this machine")
    there = {(crate, number): licences for crate, number, licences in components(document)}
    missing = linked(program) - there.keys()
    expect(not missing, f"does not name what is linked: {words(missing)}")
    unlicensed = {crate for crate, licences in there.items() if not licences}
    expect(not unlicensed, f"names no licence of {words(unlicensed)}")
    links = len(linked(program))
    return f"CycloneDX {document['specVersion']}: {len(there)} crates with their licences, the {links} linked ones among them"


def check_binary(path, binary):
    """The program's own witness: the crates that it names must be in the document."""
    named = {(crate.decode(), number.decode()) for crate, number in CRATE.findall(binary.read_bytes())}
    expect(named, "the program names no crate")
    lock = (PROJECT / "Cargo.lock").read_text()
    # Where std is built with the program, it brings crates of its own, which the lock file does not know.
    named = {crate for crate in named if f'name = "{crate[0]}"\nversion = "{crate[1]}"' in lock}
    there = {(crate, number) for crate, number, _ in components(json.loads(path.read_text()))}
    expect(named <= there, f"does not name what the program names: {words(named - there)}")
    return f"{len(named)} crates that the program itself names are in {path.name}"


def words(crates):
    return ", ".join(sorted(" ".join(crate) for crate in crates))
