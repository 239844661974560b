//! Finds where a path leads: through symbolic links, to the mount that it lies on, and no further. Pure.
//!
//! Nothing on NFS or behind an automount is looked at, because that may hang or trigger a mount. Only names on the
//! machine's own file systems are looked up; others are taken for folders, and the table of mounts tells the rest.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use crate::host::mounts::mountinfo::{Mount, Table};

/// How many links are followed, the same as in the kernel (path_resolution(7)).
const LINKS_MOST: usize = 40;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileKind {
    /// A symbolic link, with its target.
    Link(PathBuf),
    /// Something else.
    Plain,
    Absent,
    /// It cannot be looked at; the text says why. It is assumed not to be a link: a mount may lie below it all the
    /// same.
    Hidden(String),
}

/// Where a path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location<'a, 't> {
    /// The path without links, as far as they could be resolved.
    pub path: PathBuf,
    /// The mount that it lies on.
    pub mount: &'a Mount<'t>,
    /// The first part of the path that does not exist.
    pub absent: Option<PathBuf>,
    /// Why some part could not be looked at.
    pub hidden: Option<String>,
}

/// Finds where `path`, which is absolute, leads. `look` looks up a name whose folder is on one of the machine's own
/// file systems and which is not a mount point.
///
/// # Errors
/// There are too many links.
pub fn find<'a, 't>(
    table: &'a Table<'t>,
    path: &Path,
    look: &dyn Fn(&Path) -> FileKind,
) -> Result<Location<'a, 't>, String> {
    let mut place = Location { path: PathBuf::from("/"), mount: table.at(Path::new("/")), absent: None, hidden: None };
    let mut ahead: Vec<OsString> = parts(path);
    let mut links = 0;
    let mut may_look = table.is_prompt(place.mount);
    while let Some(part) = ahead.pop() {
        if part == ".." {
            place.path.pop();
            place.mount = table.at(&place.path);
            continue;
        }
        let next = place.path.join(&part);
        let mount = table.at(&next);
        // What lies behind such a mount cannot be looked at either, whatever mount it is on.
        may_look &= table.is_prompt(mount) && place.absent.is_none();
        // A mount point exists and is not a link, and looking at it would access the mount.
        let is_mount = mount.point() == next;
        let name = if may_look && !is_mount { look(&next) } else { FileKind::Plain };
        match name {
            FileKind::Link(target) => {
                links += 1;
                if links > LINKS_MOST {
                    return Err(format!("{} leads through more than {LINKS_MOST} symbolic links", path.display()));
                }
                if target.is_absolute() {
                    place.path = PathBuf::from("/");
                }
                ahead.extend(parts(&target));
                place.mount = table.at(&place.path);
                continue;
            }
            FileKind::Plain if is_mount => place.absent = None,
            FileKind::Plain => {}
            FileKind::Absent => place.absent = Some(next.clone()),
            FileKind::Hidden(why) => place.hidden = Some(why),
        }
        (place.path, place.mount) = (next, mount);
    }
    Ok(place)
}

/// The parts of a path in reverse order.
fn parts(path: &Path) -> Vec<OsString> {
    let parts = path.components().rev().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const MOUNTS: &str = "29 1 259:1 / / rw - xfs /dev/nvme0n1p1 rw\n\
                          50 29 0:40 / /tmp rw - tmpfs tmpfs rw\n\
                          98 29 0:51 / /mnt/efs rw - nfs4 127.0.0.1:/ rw\n\
                          99 98 0:52 / /mnt/efs/local rw - tmpfs tmpfs rw\n\
                          60 29 0:60 / /mnt/s3 rw - fuse.mount-s3 bucket rw\n\
                          97 29 0:50 / /mnt/auto rw - autofs systemd-1 rw,direct\n";
    const ENTRIES: &[(&str, &str)] = &[
        ("/srv/minecraft", "/mnt/efs/minecraft"),
        ("/srv/beside", "minecraft/survival"),
        ("/srv/up", "../mnt/efs"),
        ("/opt/mc", "/srv/minecraft"),
        ("/opt/auto", "/mnt/auto/world"),
        ("/opt/plain", "/var/world"),
        ("/opt/gone", "/nowhere/world"),
        ("/opt/circle", "/opt/circle"),
        ("/opt/tmp", "/tmp/../mnt/efs"),
        ("/mnt/s3/link", "/mnt/efs"),
        ("/mnt/efs/link", "/tmp"),
        ("/mnt/efs/local/link", "/var/world"),
    ];

    /// What a disk has at a path; looking on NFS, at a mount point or behind an automount fails the test.
    fn disk(path: &Path) -> FileKind {
        for mount in ["/mnt/efs", "/mnt/auto", "/mnt/s3"] {
            assert!(!path.starts_with(mount), "{} was looked at", path.display());
        }
        let entries: BTreeMap<_, _> = ENTRIES.iter().map(|(at, to)| (Path::new(*at), *to)).collect();
        match entries.get(path) {
            Some(target) => FileKind::Link(PathBuf::from(target)),
            None if path.starts_with("/nowhere") => FileKind::Absent,
            None if path.starts_with("/home/game") => FileKind::Hidden("Permission denied".to_owned()),
            None => FileKind::Plain,
        }
    }

    fn leads(path: &str) -> (String, i32) {
        let table = Table::parse(MOUNTS.as_bytes()).unwrap();
        let place = find(&table, Path::new(path), &disk).unwrap();
        (place.path.display().to_string(), place.mount.id)
    }

    #[test]
    fn links_are_followed_to_the_mount_and_not_beyond() {
        for (path, leads_to, mount) in [
            ("/mnt/efs", "/mnt/efs", 98),
            ("/mnt/efs/minecraft/survival", "/mnt/efs/minecraft/survival", 98),
            ("/srv/minecraft", "/mnt/efs/minecraft", 98),
            ("/srv/beside", "/mnt/efs/minecraft/survival", 98),
            ("/srv/up/world", "/mnt/efs/world", 98),
            ("/opt/mc/world", "/mnt/efs/minecraft/world", 98),
            ("/opt/auto", "/mnt/auto/world", 97),
            ("/opt/plain", "/var/world", 29),
            ("/opt/gone", "/nowhere/world", 29),
            ("/opt/tmp", "/mnt/efs", 98),
            ("/mnt/efs/link", "/mnt/efs/link", 98),
            ("/mnt/efs/local/link", "/mnt/efs/local/link", 99),
            ("/mnt/s3/link", "/mnt/s3/link", 60),
            ("/", "/", 29),
        ] {
            assert_eq!(leads(path), (leads_to.to_owned(), mount), "{path}");
        }
    }

    #[test]
    fn what_cannot_be_followed_is_told() {
        let table = Table::parse(MOUNTS.as_bytes()).unwrap();
        let find = |path: &str| find(&table, Path::new(path), &disk);
        assert!(find("/opt/circle").unwrap_err().contains("more than 40 symbolic links"));
        let gone = find("/opt/gone").unwrap();
        assert_eq!(gone.absent, Some(PathBuf::from("/nowhere")));
        let home = find("/home/game/world").unwrap();
        assert_eq!(
            (home.path.as_path(), home.hidden.as_deref()),
            (Path::new("/home/game/world"), Some("Permission denied"))
        );
    }

    proptest! {
        #[test]
        fn nothing_is_looked_at_that_may_hang_and_all_comes_to_an_end(
            links in prop::collection::btree_map("(/(mnt|efs|a|auto)){1,3}", "/?(mnt|efs|a|auto|\\.\\.)(/(mnt|efs|a|auto|\\.\\.)){0,3}", 0..6),
            path in "(/(mnt|efs|a|auto)){1,4}",
        ) {
            let table = Table::parse(MOUNTS.as_bytes()).unwrap();
            let look = |at: &Path| {
                for mount in ["/mnt/efs", "/mnt/auto"] {
                    assert!(!at.starts_with(mount), "{} was looked at", at.display());
                }
                links.get(at.to_str().unwrap()).map_or(FileKind::Plain, |target| FileKind::Link(PathBuf::from(target)))
            };
            if let Ok(place) = find(&table, Path::new(&path), &look) {
                prop_assert_eq!(place.mount, table.at(&place.path));
            }
        }
    }
}
