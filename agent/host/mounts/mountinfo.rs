//! The table of mounts, `/proc/self/mountinfo` (proc_pid_mountinfo(5)), and which mount a path lies on. Pure.
//!
//! With efs-utils neither "efs" nor the file system's id appears: the entry is an nfs4 mount of `127.0.0.1:/`. An
//! autofs entry with nothing on top is an automount that waits for its first use.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The machine's own file systems: looking up a name there waits for no server and no other process. These are root
/// file systems and what is commonly mounted next to them; on one that is not listed, symbolic links are simply not
/// resolved.
const LOCAL: [&str; 17] = [
    "bcachefs", "btrfs", "devtmpfs", "erofs", "ext2", "ext3", "ext4", "f2fs", "overlay", "proc", "ramfs", "rootfs",
    "squashfs", "sysfs", "tmpfs", "xfs", "zfs",
];

/// Why a table is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A line lacks fields that every line has.
    #[error("line {0} is cut off or malformed")]
    Line(usize),
    /// Nothing is mounted at `/`, as in an empty table.
    #[error("no entry for /")]
    NoRoot,
}

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount<'t> {
    /// The kernel's id of this mount; another mount at the same place has another id.
    pub id: i32,
    /// The mount that it is mounted on.
    parent: i32,
    point: Cow<'t, [u8]>,
    pub fs_type: &'t str,
}

impl Mount<'_> {
    /// Where it is mounted.
    #[must_use]
    pub fn point(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.point))
    }

    /// Whether this is an NFS mount, of version 4 or older.
    #[must_use]
    pub fn is_nfs(&self) -> bool {
        matches!(self.fs_type, "nfs" | "nfs4")
    }

    /// This mount, if it is an NFS mount.
    #[must_use]
    pub fn nfs(&self) -> Option<NfsMount> {
        self.is_nfs().then(|| NfsMount { id: self.id, at: self.point().to_owned() })
    }

    /// Whether this is an automount with nothing on top: accessing it triggers the mount.
    #[must_use]
    pub fn is_automount(&self) -> bool {
        self.fs_type == "autofs"
    }
}

/// An NFS mount, which can be probed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NfsMount {
    /// The kernel's id of this mount.
    pub id: i32,
    pub at: PathBuf,
}

/// All mounts that a process sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table<'t> {
    mounts: Vec<Mount<'t>>,
    /// The mounts on each mount, in the order of the table.
    children: BTreeMap<i32, Vec<usize>>,
    root: usize,
}

impl<'t> Table<'t> {
    /// Parses the text of a table.
    ///
    /// # Errors
    /// The table is not complete. Then none of it is used: the missing line may be the one that counts.
    pub fn parse(text: &'t [u8]) -> Result<Self, Malformed> {
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let lines = text.split(|byte| *byte == b'\n').enumerate();
        let mounts: Vec<Mount<'t>> = lines
            .filter(|_| !text.is_empty())
            .map(|(index, line)| entry(line).ok_or(Malformed::Line(index + 1)))
            .collect::<Result<_, _>>()?;
        let mut children = BTreeMap::<i32, Vec<usize>>::new();
        for (index, mount) in mounts.iter().enumerate() {
            if mount.parent != mount.id {
                children.entry(mount.parent).or_default().push(index);
            }
        }
        // The mount that the root is on is not in the table.
        let is_root = |mount: &Mount<'_>| {
            *mount.point == *b"/" && !mounts.iter().any(|other| other.id == mount.parent && other.id != mount.id)
        };
        let root = mounts.iter().position(is_root).ok_or(Malformed::NoRoot)?;
        Ok(Table { mounts, children, root })
    }

    /// The mount that `path` lies on, walking down from `/` as the kernel does (path_resolution(7)). A mount that is
    /// hidden below another is never returned. `path` is absolute and has neither links nor `..` in it.
    #[must_use]
    pub fn at(&self, path: &Path) -> &Mount<'t> {
        let path = path.as_os_str().as_bytes();
        let mut mount = &self.mounts[self.root];
        // Bounded in case the table has cycles, which a real one does not.
        for _ in &self.mounts {
            let children = self.children.get(&mount.id).into_iter().flatten().map(|index| &self.mounts[*index]);
            let on_the_way =
                children.filter(|child| is_within(&child.point, &mount.point) && is_within(path, &child.point));
            // The first one on the way; of several at the same place the last one lies on top.
            match on_the_way.rev().min_by_key(|child| child.point.len()) {
                Some(next) => mount = next,
                None => break,
            }
        }
        mount
    }

    /// Whether names on `mount` can be looked up without waiting for anything. The root counts unless it is NFS, since
    /// nothing works without it.
    #[must_use]
    pub fn is_prompt(&self, mount: &Mount<'_>) -> bool {
        LOCAL.contains(&mount.fs_type) || (mount.id == self.mounts[self.root].id && !mount.is_nfs())
    }

    /// Every NFS mount that is not hidden below another mount.
    pub fn nfs(&self) -> impl Iterator<Item = &Mount<'t>> {
        self.mounts.iter().filter(|mount| mount.is_nfs() && self.at(mount.point()).id == mount.id)
    }
}

fn is_within(path: &[u8], folder: &[u8]) -> bool {
    match path.strip_prefix(folder) {
        Some(rest) => folder == b"/" || rest.is_empty() || rest[0] == b'/',
        None => false,
    }
}

/// `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [FIELD...] - TYPE SOURCE OPTIONS`.
fn entry(line: &[u8]) -> Option<Mount<'_>> {
    let mut fields = line.split(|byte| *byte == b' ');
    let mut number = || std::str::from_utf8(fields.next()?).ok()?.parse().ok();
    let (id, parent) = (number()?, number()?);
    let point = unescaped(fields.nth(2)?);
    let fs_type = std::str::from_utf8(fields.skip(1).skip_while(|field| *field != b"-").nth(1)?).ok()?;
    (point.starts_with(b"/") && !fs_type.is_empty()).then_some(Mount { id, parent, point, fs_type })
}

/// A field of this table or of fstab(5), in which spaces, backslashes and the like are written in octal: `\040`.
#[must_use]
pub fn unescaped(field: &[u8]) -> Cow<'_, [u8]> {
    if !field.contains(&b'\\') {
        return Cow::Borrowed(field);
    }
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [byte, after @ ..] = rest {
        let escape = if *byte == b'\\' { after.first_chunk::<3>().copied().and_then(octal) } else { None };
        plain.push(escape.unwrap_or(*byte));
        rest = if escape.is_some() { &after[3..] } else { after };
    }
    Cow::Owned(plain)
}

fn octal(digits: [u8; 3]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(&digits).ok().filter(|text| !text.starts_with('+'))?, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ROOT: &str = "29 1 259:1 / / rw,noatime shared:1 - xfs /dev/nvme0n1p1 rw\n";
    const TLS: &str = "98 29 0:51 / /mnt/efs rw,relatime shared:50 - nfs4 127.0.0.1:/ rw,vers=4.1,hard,port=20449\n";
    const PLAIN: &str =
        "99 29 0:52 / /mnt/efs rw,relatime - nfs4 fs-0123.efs.eu-central-1.amazonaws.com:/ rw,vers=4.1\n";
    const AUTOFS: &str = "97 29 0:50 / /mnt/efs rw,relatime shared:49 - autofs systemd-1 rw,fd=51,direct\n";
    const USED: &str = "96 97 0:51 / /mnt/efs rw,relatime shared:50 - nfs4 127.0.0.1:/ rw,vers=4.1\n";
    const SPACE: &str = "95 29 0:49 / /mnt/my\\040efs rw,relatime shared:49 - nfs4 127.0.0.1:/ rw,vers=4.1\n";
    const NOT_TEXT: &[u8] = b"94 29 0:48 / /mnt/\xff rw,relatime - ext4 /dev/sda rw\n";
    const NO_SOURCE: &str = "93 29 0:47 / /mnt/tmp rw,relatime -  tmpfs  rw\n";

    fn at(lines: &[&str], path: &str) -> (i32, String) {
        let text = lines.concat();
        let table = Table::parse(text.as_bytes()).unwrap();
        let mount = table.at(Path::new(path));
        (mount.id, mount.fs_type.to_owned())
    }

    fn is(id: i32, fs_type: &str) -> (i32, String) {
        (id, fs_type.to_owned())
    }

    #[test]
    fn finds_every_form_that_efs_takes() {
        assert_eq!(at(&[ROOT, TLS], "/mnt/efs"), is(98, "nfs4"));
        assert_eq!(at(&[ROOT, PLAIN], "/mnt/efs/world/region"), is(99, "nfs4"));
        assert_eq!(at(&[ROOT, AUTOFS, USED], "/mnt/efs"), is(96, "nfs4"));
        assert_eq!(at(&[ROOT, SPACE], "/mnt/my efs"), is(95, "nfs4"));
        for beside in ["/mnt", "/mnt/efs2", "/mnt/ef", "/"] {
            assert_eq!(at(&[ROOT, TLS], beside), is(29, "xfs"), "{beside}");
        }
    }

    #[test]
    fn the_order_of_the_table_does_not_decide_what_lies_on_top() {
        assert_eq!(at(&[USED, AUTOFS, ROOT], "/mnt/efs"), is(96, "nfs4"));
        // As systemd leaves an EFS mount in /home for a service with ProtectHome=read-only: the first one is hidden.
        let hidden = "50 29 0:51 / /home/efs rw - nfs4 127.0.0.1:/ rw\n";
        let home = "51 29 259:1 /home /home ro - xfs /dev/nvme0n1p1 rw\n";
        let shown = "52 51 0:51 / /home/efs ro - nfs4 127.0.0.1:/ rw\n";
        let text = [ROOT, hidden, home, shown].concat();
        let table = Table::parse(text.as_bytes()).unwrap();
        assert_eq!(table.nfs().map(|mount| mount.id).collect::<Vec<_>>(), [52]);
    }

    #[test]
    fn a_table_that_is_not_whole_is_not_believed() {
        for (text, why) in [
            ("", Malformed::NoRoot),
            ("98 29 0:51 / /mnt/efs rw - nfs4 127.0.0.1:/ rw\n", Malformed::NoRoot),
            (&format!("{ROOT}98 29 0:51 / /mnt/efs rw,relatime shared:50 -"), Malformed::Line(2)),
            (&format!("{ROOT}98 29 0:51 / /mnt/efs rw,relatime shared:50 - "), Malformed::Line(2)),
            (&format!("{ROOT}\n{TLS}"), Malformed::Line(2)),
            (&format!("{ROOT}98 29 0:51 / mnt rw - nfs4 127.0.0.1:/ rw\n"), Malformed::Line(2)),
        ] {
            assert_eq!(Table::parse(text.as_bytes()), Err(why), "{text:?}");
        }
        let odd = [ROOT.as_bytes(), NOT_TEXT].concat();
        assert!(Table::parse(&odd).is_ok(), "names need not be text");
        assert_eq!(at(&[ROOT, "93 29 0:47 / /mnt/tmp rw,relatime - tmpfs  rw\n"], "/mnt/tmp"), is(93, "tmpfs"));
        assert!(Table::parse([ROOT, NO_SOURCE].concat().as_bytes()).is_err(), "a type is never empty");
    }

    #[test]
    fn this_machine_has_a_table() {
        let text = std::fs::read("/proc/self/mountinfo").unwrap();
        let table = Table::parse(&text).unwrap();
        assert_eq!(table.at(Path::new("/proc/self")).fs_type, "proc");
        assert_eq!(table.at(Path::new("/")).point(), Path::new("/"));
    }

    #[test]
    fn escapes_are_those_of_the_kernel() {
        assert_eq!(&*unescaped(br"/mnt/my\040e\134fs\043"), br"/mnt/my e\fs#");
        assert_eq!(&*unescaped(br"\777\+12\04\"), br"\777\+12\04\");
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..500), paths in prop::collection::vec("(/[a-c]){0,3}", 4)) {
            let _ = Table::parse(&bytes);
            // Any parents, including cycles, and a path that goes through all.
            let numbers = bytes.chunks_exact(3).zip(paths.iter().cycle());
            let line = |(n, path): (&[u8], &String)| {
                format!("{} {} 0:1 / /{} rw - nfs4 x rw\n", n[0] % 9, n[1] % 9, path.trim_matches('/'))
            };
            let lines = numbers.map(line).collect::<Vec<_>>().concat();
            if let Ok(table) = Table::parse([ROOT, &lines].concat().as_bytes()) {
                let _ = (table.at(Path::new("/a/b/c/d")).id, table.nfs().count());
            }
        }
    }
}
