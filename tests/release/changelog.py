#!/usr/bin/env python3
"""The version in Cargo.toml and the newest section of CHANGELOG.md, which have to agree.

    tests/release/changelog.py     prints that section: the text of the release
"""

import re
import sys
import tomllib
from datetime import date
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent
HEADING = re.compile(r"^## \[(?P<version>[^\]]+)\](?: - (?P<date>\S+))?$", re.MULTILINE)
INSTALL_LINE = re.compile(r"mc-(?:idle|broker)[_-](\d[\w.~]*)-\d+[_.](?:amd64|arm64|x86_64|aarch64)")


def version():
    return tomllib.loads((PROJECT / "Cargo.toml").read_text())["workspace"]["package"]["version"]


def newest():
    """Heading and text of the newest section."""
    text = (PROJECT / "CHANGELOG.md").read_text()
    headings = [*HEADING.finditer(text), None]
    if headings[0] is None:
        return None, ""
    end = headings[1].start() if headings[1] else len(text)
    return headings[0], text[headings[0].end():end].strip()


def problem(tag=None):
    """What keeps this from being released, in one sentence."""
    if not re.fullmatch(r"\d+\.\d+\.\d+", version()):
        return f"the version in Cargo.toml is {version()}, and must be three numbers"
    if tag is not None and tag != f"v{version()}":
        return f"the tag is {tag}, and the version in Cargo.toml is {version()}"
    heading, text = newest()
    if heading is None or heading["version"] != version():
        found = heading[0] if heading else "none"
        return f"the newest heading in CHANGELOG.md is {found!r}, and the version in Cargo.toml is {version()}"
    try:
        day = date.fromisoformat(heading["date"] or "")
    except ValueError:
        return f"the newest heading in CHANGELOG.md has no date: {heading[0]!r}"
    if day > date.today():
        return f"the newest heading in CHANGELOG.md has a date in the future: {heading[0]!r}"
    if not text:
        return f"the section of {version()} in CHANGELOG.md is empty"
    return None


def other_versions():
    """Where the documentation tells people to install another version: `file: version`."""
    pages = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
    return [
        f"{page.relative_to(PROJECT)}: {found}"
        for page in pages for found in INSTALL_LINE.findall(page.read_text()) if found != version()
    ]


if __name__ == "__main__":
    if wrong := problem():
        sys.exit(f"changelog.py: {wrong}")
    print(newest()[1])
