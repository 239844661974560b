//! `/etc/fstab` (fstab(5)): where NFS is to be mounted at boot. Pure.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::host::mounts::mountinfo::unescaped;

/// The type in the words of efs-utils, nfs-utils and the kernel.
const TYPES: [&[u8]; 3] = [b"efs", b"nfs", b"nfs4"];
/// Options of a line whose file system is not mounted at boot: not at all, or only on first use (systemd.mount(5)).
const LATER: [&[u8]; 2] = [b"noauto", b"x-systemd.automount"];

/// What a table says about NFS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fstab {
    /// The mount points that are mounted at boot, in the order of the table, without duplicates.
    pub at_boot: Vec<PathBuf>,
    /// Those that are mounted only on demand.
    pub later: Vec<PathBuf>,
}

impl Fstab {
    /// Parses the text of a table. Lines that are not about NFS, and malformed ones, are skipped, as mount(8) does.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        let mut fstab = Fstab::default();
        for line in text.split(|byte| *byte == b'\n') {
            let Some((point, is_later)) = line_of_nfs(line) else { continue };
            let points = if is_later { &mut fstab.later } else { &mut fstab.at_boot };
            if !points.contains(&point) {
                points.push(point);
            }
        }
        fstab
    }
}

/// Parses `SOURCE POINT TYPE OPTIONS DUMP CHECK`, the last three of which are optional. Returns the mount point, and
/// whether it is not mounted at boot.
fn line_of_nfs(line: &[u8]) -> Option<(PathBuf, bool)> {
    let mut fields = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
    if fields.next()?.starts_with(b"#") {
        return None;
    }
    let point = unescaped(fields.next()?);
    let mut types = fields.next()?.split(|byte| *byte == b',');
    let is_later =
        fields.next().is_some_and(|options| options.split(|byte| *byte == b',').any(|one| LATER.contains(&one)));
    let point = Path::new(OsStr::from_bytes(&point));
    // Collecting the components drops a trailing slash, for example.
    (types.any(|one| TYPES.contains(&one)) && point.is_absolute()).then(|| (point.components().collect(), is_later))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn points(text: &str) -> (Vec<String>, Vec<String>) {
        let fstab = Fstab::parse(text.as_bytes());
        let text = |points: Vec<PathBuf>| points.into_iter().map(|point| point.display().to_string()).collect();
        (text(fstab.at_boot), text(fstab.later))
    }

    #[test]
    fn lines_of_nfs_are_told_from_all_others() {
        let (at_boot, later) = points(
            "# fs-0:/ /mnt/comment efs defaults 0 0\n\
             UUID=5f0a / xfs defaults,noatime 1 1\n\
             \n\
             fs-1:/\t/mnt/efs/   efs\t_netdev,nofail,tls 0 0\n\
             10.0.0.9:/ /mnt/my\\040efs nfs4\n\
             fs-2:/ /mnt/efs efs _netdev 0 0\n\
             old:/x /mnt/old nfs defaults\n\
             fs-3:/ /mnt/by-hand efs noauto,_netdev 0 0\n\
             fs-4:/ /mnt/on-use efs _netdev,x-systemd.automount,x-systemd.idle-timeout=60 0 0\n\
             fs-5:/ /mnt/none efs nofail,x-noauto,noautomount 0 0\n\
             /srv/efs /mnt/bound none bind 0 0\n\
             tmpfs /mnt/nfs tmpfs defaults 0 0\n\
             fs-6:/ none efs defaults 0 0\n\
             fs-7:/ /mnt/cut",
        );
        assert_eq!(at_boot, ["/mnt/efs", "/mnt/my efs", "/mnt/old", "/mnt/none"]);
        assert_eq!(later, ["/mnt/by-hand", "/mnt/on-use"]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            let _ = Fstab::parse(&bytes);
        }

        #[test]
        fn a_line_counts_for_itself_whatever_stands_before_and_after(
            before in "[ -~\t\n]{0,80}", after in "[ -~\t\n]{0,80}",
            options in prop::sample::subsequence(vec!["_netdev", "nofail", "noauto", "x-systemd.automount", "tls"], 1..=5),
        ) {
            let is_later = options.iter().any(|option| option.contains("auto"));
            let text = format!("{before}\nfs-1:/ /the/mount efs {} 0 0\n{after}", options.join(","));
            let fstab = Fstab::parse(text.as_bytes());
            let the_mount = PathBuf::from("/the/mount");
            prop_assert_eq!((fstab.at_boot.contains(&the_mount), fstab.later.contains(&the_mount)), (!is_later, is_later));
        }
    }
}
