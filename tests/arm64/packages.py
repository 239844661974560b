"""What `make packages` and `make launcher` have made for arm64, read by dpkg-deb, rpm, file and readelf."""

import re
import subprocess
import zipfile

# The glibc of Amazon Linux 2023, and the libraries that the packages depend on.
GLIBC = (2, 34)
LIBRARIES = {"ld-linux-aarch64.so.1", "libc.so.6", "libgcc_s.so.1", "libm.so.6"}
DEB_DEPENDS = "ca-certificates, libc6 (>= 2.34), libgcc-s1, systemd"
RPM_REQUIRES = {
    "ca-certificates", "libc.so.6(GLIBC_2.34)(64bit)", "libgcc_s.so.1()(64bit)", "libm.so.6()(64bit)", "systemd",
}
# What is in both kinds of package beside the program; manual pages with or without .gz.
FILES = (
    "/etc/{0}/config.toml", "/etc/{0}/config.d/README", "/usr/lib/systemd/system/{0}.service", "/usr/lib/sysusers.d/{0}.conf",
    "/usr/lib/systemd/catalog/{0}.catalog", "/usr/share/man/man8/{0}.8", "/usr/share/man/man5/{0}.toml.5",
    "/usr/share/bash-completion/completions/{0}",
)


def printed(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr.strip()}")
    return done.stdout.strip()


def binary(report, name, path):
    """A program: for this processor, and content with the libraries of the oldest distribution."""
    kind = printed("file", "--brief", path)
    right = kind.startswith("ELF 64-bit LSB") and "ARM aarch64" in kind
    report.show(f"{name}: file says {kind.split(', BuildID')[0]}", right)
    header = printed("readelf", "--file-header", path)
    report.show(f"{name}: readelf says AArch64", re.search(r"Machine:\s+AArch64$", header, re.M) is not None, header)
    versions = re.findall(r"GLIBC_(\d+)\.(\d+)", printed("readelf", "--wide", "--version-info", path))
    newest = max((int(major), int(minor)) for major, minor in versions)
    report.show(f"{name}: needs glibc {newest[0]}.{newest[1]}", newest <= GLIBC, f"at most {GLIBC} is allowed")
    needed = set(re.findall(r"\(NEEDED\).*\[(.*)\]", printed("readelf", "--wide", "--dynamic", path)))
    report.show(f"{name}: needs {', '.join(sorted(needed))}", needed <= LIBRARIES, f"unknown: {needed - LIBRARIES}")


def files_are_there(report, package, program, paths):
    paths = {path.removesuffix(".gz") for path in paths}
    missing = [path for path in (path.format(program) for path in (*FILES, "/usr/bin/{0}")) if path not in paths]
    what = f"{package.name}: program, manual pages, unit, configuration, completions: {len(paths)} files"
    report.show(what, not missing, f"no {missing}")


def deb(report, program, folder, version, into):
    """Unpacks the .deb; returns the program in it."""
    package = folder / f"{program}_{version}-1_arm64.deb"
    wanted = {"Package": program, "Version": f"{version}-1", "Architecture": "arm64", "Depends": DEB_DEPENDS}
    fields = {name: printed("dpkg-deb", "--field", package, name) for name in wanted}
    what = f"{package.name}: {fields['Architecture']}, depends on {fields['Depends']}"
    report.show(what, fields == wanted, f"wanted {wanted}")
    printed("dpkg-deb", "--extract", package, into)
    paths = [f"/{path.relative_to(into)}" for path in into.rglob("*") if path.is_file()]
    files_are_there(report, package, program, paths)
    return into / "usr/bin" / program


def rpm(report, program, folder, version, into):
    """Unpacks the .rpm; returns the program in it."""
    package = folder / f"{program}-{version}-1.aarch64.rpm"
    form = "--queryformat=%{NAME} %{VERSION}-%{RELEASE} %{ARCH} %{OS}"
    says = printed("rpm", "--query", "--package", form, package)
    report.show(f"{package.name}: {says}", says == f"{program} {version}-1 aarch64 linux")
    requires = set(printed("rpm", "--query", "--package", "--requires", package).splitlines())
    requires = {one for one in requires if not one.startswith(("rpmlib(", "config(", "/bin/sh"))}
    what = f"{package.name}: requires {', '.join(sorted(requires))}"
    report.show(what, requires == RPM_REQUIRES, f"wanted {RPM_REQUIRES}")
    digests = subprocess.run(["rpm", "--checksig", package], capture_output=True, text=True, check=False)
    report.show(f"{package.name}: its digests are right", digests.returncode == 0, digests.stdout + digests.stderr)
    files_are_there(report, package, program, printed("rpm", "--query", "--package", "--list", package).splitlines())
    into.mkdir()
    # Debian's rpm2cpio ends with 1 all the same; cpio complains of anything that is cut off.
    printed("bash", "-c", 'rpm2cpio "$0" | cpio --quiet -idm', package, cwd=into)
    return into / "usr/bin" / program


def launcher(report, path, into):
    """Unpacks the zip for Lambda; returns the program in it."""
    with zipfile.ZipFile(path) as archive:
        entries = [(entry.filename, oct(entry.external_attr >> 16)) for entry in archive.infolist()]
        report.show(f"{path.name}: {entries}, {path.stat().st_size / 1e6:.1f} MB", entries == [("bootstrap", "0o755")])
        archive.extractall(into)
    program = into / "bootstrap"
    program.chmod(0o755)
    return program


def show(report, target, version, into):
    """All of it; returns the programs by name."""
    programs = {}
    for program in ("mc-idle", "mc-broker"):
        (into / program).mkdir(parents=True)
        programs[program] = deb(report, program, target / "packages", version, into / program / "deb")
        binary(report, program, programs[program])
        other = rpm(report, program, target / "packages", version, into / program / "rpm")
        report.show(f"{program}: the same in both packages", programs[program].read_bytes() == other.read_bytes())
    programs["mc-launcher"] = launcher(report, target / "launcher/mc-launcher-arm64.zip", into / "mc-launcher")
    binary(report, "mc-launcher", programs["mc-launcher"])
    return programs
