//! Reads what can be known about a host's mounts without accessing any of them. Nothing here can hang: only the
//! machine's own file systems are read.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use mc_service::error_chain::chain;
use mc_service::small_file;

use crate::config::settings::MountPoint;
use crate::host::mounts::efs::{self, MountEvidence, Mounts};
use crate::host::mounts::fstab::Fstab;
use crate::host::mounts::location::{self, FileKind};
use crate::host::mounts::mountinfo::Table;

const FSTAB: &str = "/etc/fstab";

/// The mounts that count on the host below `root`, according to its own tables.
#[must_use]
pub fn find(root: &Path, mount_point: &MountPoint) -> Mounts {
    if *mount_point == MountPoint::Nowhere {
        return Mounts::default();
    }
    let path = root.join("proc/self/mountinfo");
    let cannot_read = |error: &dyn std::error::Error| format!("cannot read {}: {}", path.display(), chain(error));
    let text = fs::read(&path).map_err(|error| cannot_read(&error));
    let table =
        text.as_deref().map_err(Clone::clone).and_then(|text| Table::parse(text).map_err(|error| cannot_read(&error)));
    let look = |name: &Path| look(&below(root, name));
    let fstab = match (mount_point, &table) {
        (MountPoint::Auto, Ok(table)) => fstab(root, table, &look),
        _ => Ok(Fstab::default()),
    };
    efs::mounts(mount_point, &MountEvidence { table, fstab, look: &look })
}

fn fstab(root: &Path, table: &Table<'_>, look: &dyn Fn(&Path) -> FileKind) -> Result<Fstab, String> {
    let place = location::find(table, Path::new(FSTAB), look)?;
    if !table.is_prompt(place.mount) {
        return Err(format!(
            "{FSTAB} is not read, since its {} file system may hang; name the mount in efs.mount_point instead",
            place.mount.fs_type
        ));
    }
    match small_file::read(&below(root, &place.path)) {
        Ok(text) => Ok(Fstab::parse(&text)),
        // The file is optional.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Fstab::default()),
        Err(error) => Err(format!("cannot read {FSTAB}: {}; name the mount in efs.mount_point instead", chain(&error))),
    }
}

fn look(path: &Path) -> FileKind {
    match fs::read_link(path) {
        Ok(target) => FileKind::Link(target),
        // readlink(2): it exists, but is not a link.
        Err(error) if error.kind() == ErrorKind::InvalidInput => FileKind::Plain,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => FileKind::Absent,
        Err(error) => FileKind::Hidden(error.to_string()),
    }
}

/// `path` of the host below `root`, as it is reached from here.
fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}
