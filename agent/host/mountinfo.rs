//! Is EFS mounted? The topmost entry of the mount point in `/proc/self/mountinfo` (proc_pid_mountinfo(5)) says so.
//!
//! Under efs-utils neither "efs" nor the file system's id appears: the entry is an nfs4 mount of `127.0.0.1:/`. An autofs
//! entry alone is an automount that waits for its first use. Reading this file never touches the mount.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use procfs::process::MountInfo;

use super::row::in_words;
use crate::error::chain;

/// What the mount table says of the mount point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mount {
    /// An nfs4 file system is mounted there.
    Nfs {
        /// The kernel's number of this mount; another mount at the same place has another.
        id: i32,
    },
    /// Nothing is, or something else; the text says what.
    Missing(String),
}

/// Looks for `mount_point` in the file `mountinfo`. What cannot be read is taken for missing, and said.
#[must_use]
pub fn find(mountinfo: &Path, mount_point: &Path) -> Mount {
    match File::open(mountinfo).and_then(|file| topmost(BufReader::new(file), mount_point)) {
        Ok(Some(mount)) if mount.fs_type == "nfs4" => Mount::Nfs { id: mount.mnt_id },
        Ok(Some(mount)) if mount.fs_type == "autofs" => {
            Mount::Missing(format!("the automount at {} has not been used yet", mount_point.display()))
        }
        Ok(Some(mount)) => {
            Mount::Missing(format!("{} is a {} file system, not nfs4", mount_point.display(), mount.fs_type))
        }
        Ok(None) => Mount::Missing(format!("nothing is mounted at {}", mount_point.display())),
        Err(error) => Mount::Missing(format!("cannot read {}: {}", mountinfo.display(), chain(&error))),
    }
}

/// The last entry for `mount_point`: a later mount at the same place lies on top.
///
/// # Errors
/// The table cannot be read, or the line for the mount point cannot be parsed.
pub fn topmost(table: impl BufRead, mount_point: &Path) -> io::Result<Option<MountInfo>> {
    let wanted = escaped(mount_point);
    let mut found = None;
    for line in table.split(b'\n') {
        let line = line?;
        // Other mounts may have names that are not text; only lines of this mount point are parsed.
        if line.split(|byte| *byte == b' ').nth(4) == Some(&wanted) {
            let text = std::str::from_utf8(&line).map_err(io::Error::other)?;
            found = Some(MountInfo::from_line(text).map_err(|error| io::Error::other(in_words(error)))?);
        }
    }
    Ok(found)
}

/// The path as the kernel writes it: space, tab, newline, backslash and hash in octal (seq_path, show_mountinfo).
fn escaped(path: &Path) -> Vec<u8> {
    let mut written = Vec::new();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' | b'#' => written.extend(format!("\\{byte:03o}").bytes()),
            _ => written.push(*byte),
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TLS: &str = "98 29 0:51 / /mnt/efs rw,relatime shared:50 - nfs4 127.0.0.1:/ rw,vers=4.1,hard,port=20449,timeo=600,retrans=2,clientaddr=127.0.0.1,addr=127.0.0.1\n";
    const PLAIN: &str = "99 29 0:52 / /mnt/efs rw,relatime - nfs4 fs-0123.efs.eu-central-1.amazonaws.com:/ rw,vers=4.1,hard,addr=10.0.0.9\n";
    const AUTOFS: &str = "97 29 0:50 / /mnt/efs rw,relatime shared:49 - autofs systemd-1 rw,fd=51,direct\n";
    const SPACE: &str = "96 29 0:49 / /mnt/my\\040efs rw,relatime shared:49 - nfs4 127.0.0.1:/ rw,vers=4.1\n";
    const OTHER: &[u8] = b"95 29 0:48 / /mnt/\xff rw nonsense\n95 29 0:48 / /mnt rw,relatime - ext4 /dev/sda rw\n";

    fn kind(text: &[&[u8]], mount_point: &str) -> Option<(i32, String)> {
        let mount = topmost(text.concat().as_slice(), Path::new(mount_point)).unwrap()?;
        Some((mount.mnt_id, mount.fs_type))
    }

    #[test]
    fn finds_every_form_that_efs_takes() {
        let nfs4 = |id| Some((id, "nfs4".to_owned()));
        assert_eq!(kind(&[OTHER, TLS.as_bytes()], "/mnt/efs"), nfs4(98));
        assert_eq!(kind(&[PLAIN.as_bytes(), OTHER], "/mnt/efs"), nfs4(99));
        assert_eq!(kind(&[AUTOFS.as_bytes(), TLS.as_bytes()], "/mnt/efs"), nfs4(98));
        assert_eq!(kind(&[SPACE.as_bytes()], "/mnt/my efs"), nfs4(96));
    }

    #[test]
    fn an_automount_alone_is_not_mounted() {
        assert_eq!(kind(&[AUTOFS.as_bytes()], "/mnt/efs"), Some((97, "autofs".to_owned())));
        assert_eq!(kind(&[OTHER], "/mnt/efs"), None);
        assert_eq!(kind(&[b""], "/mnt/efs"), None);
    }

    #[test]
    fn says_what_is_there_instead() {
        let missing = find(Path::new("/proc/self/mountinfo"), Path::new("/proc"));
        assert_eq!(missing, Mount::Missing("/proc is a proc file system, not nfs4".to_owned()));
        assert!(
            matches!(find(Path::new("/nowhere"), Path::new("/mnt/efs")), Mount::Missing(why) if why.contains("/nowhere"))
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            let line = [b"98 29 0:51 / /mnt/efs ", bytes.as_slice()].concat();
            let _ = topmost(bytes.as_slice(), Path::new("/mnt/efs"));
            let _ = topmost(line.as_slice(), Path::new("/mnt/efs"));
        }
    }
}
