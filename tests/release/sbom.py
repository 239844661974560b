"""What a program is made of, as CycloneDX: made by cargo-cyclonedx, and compared with what cargo links.

One document is for a program on both architectures. What is linked has the scope "required"; what only takes part in
the build (build scripts, procedural macros) has "excluded"."""

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
LINKED, BUILDING = "normal,no-proc-macro", "normal,build"


def name(program):
    return f"{program}-{version()}.cdx.json"


def crates(program, edges):
    """Name and version of a program's crates, on one architecture or both, with the features that it is built with."""
    found = set()
    for target, _, _ in ARCHITECTURES.values():
        tree = printed(
            "cargo", "tree", "--locked", "--package", program, "--edges", edges, "--target", target,
            "--prefix", "none", "--no-dedupe", "--format", "{p}", cwd=PROJECT,
        )
        found |= {tuple(line.split()[:2]) for line in tree.splitlines() if line}
    return {(crate, number.removeprefix("v")) for crate, number in found}


def make(programs, folder, work):
    """The documents of these programs, in `folder`."""
    documents = {}
    for target, _, _ in ARCHITECTURES.values():
        source.copy(work)
        subprocess.run(
            ["cargo", "cyclonedx", "--quiet", "--format", "json", "--spec-version", "1.5", "--describe", "binaries",
             "--target", target],
            cwd=work, env=os.environ | {"SOURCE_DATE_EPOCH": str(source.commit_time())}, check=True,
        )
        for program in programs:
            [path] = work.glob(f"**/{program}_bin.cdx.json")
            # No folder of this machine.
            text = re.sub(r"\?download_url=file:[^\"#]*", "", path.read_text().replace(f"file://{work}", "file://"))
            documents.setdefault(program, []).append(json.loads(text))
    for program, both in documents.items():
        (folder / name(program)).write_text(json.dumps(merged(program, both), indent=2) + "\n")


def merged(program, documents):
    """One document of several, without what only other programs of the workspace make a crate bring."""
    document = documents[0]
    document["metadata"].pop("properties", None)  # the target
    linked, building = crates(program, LINKED), crates(program, BUILDING)
    components, uses = {}, {}
    for other in documents:
        for component in other["components"]:
            crate = component["name"], component["version"]
            if crate in building:
                components[component["bom-ref"]] = component | {"scope": "required" if crate in linked else "excluded"}
        for one in other["dependencies"]:
            uses.setdefault(one["ref"], set()).update(one.get("dependsOn", []))
    known = {document["metadata"]["component"]["bom-ref"], *components}
    document["components"] = [components[ref] for ref in sorted(components)]
    refs = sorted(known & uses.keys())
    document["dependencies"] = [{"ref": ref, "dependsOn": sorted(uses[ref] & known)} for ref in refs]
    return document


def components(document):
    """Every component in it, the program too, by name and version."""
    everything = [document["metadata"]["component"], *document["components"]]
    return {(component["name"], component["version"]): component for component in everything}


def check(program, path):
    try:
        document = json.loads(path.read_text())
    except ValueError as error:
        raise Failure(f"is no JSON: {error}") from None
    expect(document.get("bomFormat") == "CycloneDX", "is no CycloneDX")
    main = document["metadata"]["component"]
    expect((main["name"], main["version"]) == (program, version()), f"is about {main['name']} {main['version']}")
    expect(str(PROJECT) not in path.read_text(), "names a folder of this machine")
    there = components(document)
    required = {crate for crate, component in there.items() if component["scope"] == "required"}
    linked, building = crates(program, LINKED), crates(program, BUILDING)
    expect(linked <= required, f"does not name as linked: {words(linked - required)}")
    expect(required <= linked, f"names as linked what is not: {words(required - linked)}")
    expect(there.keys() == building, f"has too much or too little: {words(there.keys() ^ building)}")
    unlicensed = {crate for crate, component in there.items() if not component.get("licenses")}
    expect(not unlicensed, f"names no licence of {words(unlicensed)}")
    others = len(there) - len(linked)
    return f"CycloneDX {document['specVersion']}, {len(linked)} crates linked, {others} for the build, all licensed"


def check_binary(path, binary):
    """The program's own witness: the crates that it names must be in the document."""
    named = {(crate.decode(), number.decode()) for crate, number in CRATE.findall(binary.read_bytes())}
    expect(named, "the program names no crate")
    lock = (PROJECT / "Cargo.lock").read_text()
    # Where std is built with the program, it brings crates of its own, which the lock file does not know.
    named = {crate for crate in named if f'name = "{crate[0]}"\nversion = "{crate[1]}"' in lock}
    there = components(json.loads(path.read_text())).keys()
    expect(named <= there, f"does not name what the program names: {words(named - there)}")
    return f"the {len(named)} crates that the program itself names are in it"


def words(crates):
    return ", ".join(sorted(" ".join(crate) for crate in crates))
