"""The packages by dpkg's and rpm's own tools, and the Lambda's zip.

Which files belong into a package, and that it can be installed, is tests/packages.rs's business."""

import hashlib
import re
import subprocess
import zipfile

import elf
from changelog import version
from contents import ARCHITECTURES, PROJECT
from report import Missing, expect, printed

SERVICES = ("mc-idle", "mc-broker")
DEPENDS = f"ca-certificates, libc6 (>= {elf.GLIBC}), libgcc-s1, systemd"
# What lintian says and is meant so, each with its reason.
ACCEPTED = {
    "malformed-contact": "the maintainers have no address",
    "bogus-mail-host-in-debian-changelog": "the same",
    "initial-upload-closes-no-bugs": "Debian's archive is not where it goes",
    "maintainer-script-calls-systemctl": "debhelper has nothing for reset-failed",
}
# Lambda takes no more by direct upload.
ZIP_BYTES = 50 * 1024 * 1024


def same(path, source):
    expect(path.is_file(), f"{path.name} is not in it")
    expect(path.read_bytes() == (PROJECT / source).read_bytes(), f"{path.name} in it is not {source}")


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check_tree(tree, program):
    """What both kinds of package have to bring."""
    binary = tree / "usr/bin" / program
    expect(binary.is_file(), f"usr/bin/{program} is not in it")
    expect(binary.stat().st_mode & 0o7777 == 0o755, f"usr/bin/{program} has mode {binary.stat().st_mode:o}")
    same(tree / f"usr/lib/systemd/system/{program}.service", f"systemd/{program}.service")
    same(tree / f"usr/lib/sysusers.d/{program}.conf", f"systemd/{program}.sysusers")
    same(tree / f"etc/{program}/config.toml", f"systemd/{program}.toml")
    return binary


def check_deb(package, program, architecture, folder):
    """The binary in it, and what is to be said."""
    fields = dict(re.findall(r"^([A-Z][\w-]*): (.*)$", printed("dpkg-deb", "--field", package), re.MULTILINE))
    wanted = {"Package": program, "Version": f"{version()}-1", "Architecture": architecture, "Depends": DEPENDS}
    for field, value in wanted.items():
        expect(fields.get(field) == value, f"{field} is {fields.get(field)!r}, and not {value!r}")
    control = folder / "control"
    printed("dpkg-deb", "--control", package, control)
    for script in ("postinst", "postrm", "prerm", "conffiles"):
        expect((control / script).is_file(), f"has no {script}")
    printed("dpkg-deb", "--extract", package, folder / "tree")
    binary = check_tree(folder / "tree", program)
    return binary, f"{program} {fields['Version']} for {architecture}, depends on {fields['Depends']}"


def check_rpm(package, program, architecture, folder):
    kernel = ARCHITECTURES[architecture][1]

    def query(*what):
        return printed("rpm", "--query", "--package", *what, package)

    said = query("--queryformat=%{NAME} %{VERSION}-%{RELEASE} %{ARCH} %{LICENSE}")
    wanted = f"{program} {version()}-1 {kernel} MIT OR Apache-2.0"
    expect(said == wanted, f"is {said!r}, and not {wanted!r}")
    requires = query("--requires").splitlines()
    for name in (f"libc.so.6(GLIBC_{elf.GLIBC})(64bit)", "libgcc_s.so.1()(64bit)", "systemd", "ca-certificates"):
        expect(name in requires, f"does not require {name}")
    scripts = query("--scripts")
    for script in ("postinstall", "preuninstall", "postuninstall"):
        expect(f"{script} scriptlet" in scripts, f"has no {script} script")
    preset = f"systemctl --no-reload preset {program}.service"
    expect(preset in scripts, "does not leave it to the presets whether it starts")
    expect(query("--configfiles").split() == [f"/etc/{program}/config.toml"], "marks other files as configuration")
    printed("rpm", "--checksig", "--nosignature", package)
    tree = folder / "tree"
    tree.mkdir(parents=True)
    try:
        # It fails after all is written, since the package does not say how large that is; rpm has checked the digest.
        archive = subprocess.run(["rpm2cpio", str(package)], capture_output=True, check=False).stdout
        subprocess.run(["cpio", "--extract", "--quiet", "--make-directories"], input=archive, cwd=tree, check=True)
    except FileNotFoundError as error:
        raise Missing(f"{error.filename} is not installed (make setup-release)") from None
    return check_tree(tree, program), f"{said}, requires {len(requires)} things; its digests hold"


def check_zip(package, folder):
    with zipfile.ZipFile(package) as archive:
        entries = archive.infolist()
        expect(archive.namelist() == ["bootstrap"], f"holds {archive.namelist()}, not bootstrap alone")
        mode = entries[0].external_attr >> 16 & 0o7777
        expect(mode == 0o755, f"bootstrap has mode {mode:o}, and Lambda does not run it")
        expect(package.stat().st_size <= ZIP_BYTES, f"is larger than the {ZIP_BYTES} bytes that Lambda takes")
        folder.mkdir(parents=True)
        archive.extract("bootstrap", folder)
    binary = folder / "bootstrap"
    binary.chmod(0o755)
    return binary, f"holds bootstrap alone, mode {mode:o}, {package.stat().st_size / 1e6:.1f} MB"


def lint_deb(package):
    """What lintian says of it that is not accepted."""
    said = printed("lintian", "--tag-display-limit", "0", "--fail-on", "none", package).splitlines()
    tags = [line for line in said if line[:2] in ("E:", "W:")]
    wrong = [line for line in tags if line.split()[2] not in ACCEPTED]
    expect(not wrong, "\n".join(wrong))
    return "no error or warning" + (f" but {len(tags)} that are accepted" if tags else "")
