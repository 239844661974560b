//! Reading a small file that others may have put there, without ever waiting for it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::process::geteuid;

/// The longest file that is read, in bytes.
const LONGEST: u64 = 1024 * 1024;

/// The content of `path`. A pipe, a device or a link in its place is refused: whoever may write to the folder could make
/// the reader wait for ever (open(2), `O_NONBLOCK`, `O_NOFOLLOW`).
///
/// # Errors
/// There is none, it cannot be read, it is no regular file, or it is longer than 1 MiB.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    content(open(path)?)
}

/// Like [`read`], but only what this process's own user has written.
///
/// # Errors
/// Those of [`read`]; it belongs to somebody else.
pub fn read_own(path: &Path) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let owner = file.metadata()?.uid();
    if owner == geteuid().as_raw() {
        content(file)
    } else {
        Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("it belongs to the user {owner}")))
    }
}

fn open(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"))
    }
}

fn content(file: File) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut content)?;
    if content.len() as u64 > LONGEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than 1 MiB"));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    #[test]
    fn reads_regular_files_only_and_waits_for_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("regular"), "text").unwrap();
        assert_eq!(read(&path("regular")).unwrap(), b"text");
        assert_eq!(read_own(&path("regular")).unwrap(), b"text");
        symlink(path("regular"), path("link")).unwrap();
        mknodat(CWD, path("pipe"), FileType::Fifo, Mode::from(0o666), 0).unwrap();
        fs::write(path("long"), vec![b' '; 1024 * 1024 + 1]).unwrap();
        for name in ["link", "pipe", "long", "missing"] {
            assert!(read(&path(name)).is_err(), "{name}");
        }
        let folder = read(folder.path()).unwrap_err();
        assert!(folder.to_string().contains("no regular file"), "{folder}");
    }

    #[test]
    fn what_somebody_else_has_written_is_not_ones_own() {
        // Root's, and everybody may read it; root itself takes another user's.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        fs::write(&path, "text").unwrap();
        let foreign = if geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
            path
        } else {
            Path::new("/etc/passwd").to_owned()
        };
        assert!(read(&foreign).is_ok());
        assert!(read_own(&foreign).unwrap_err().to_string().contains("belongs to the user"));
    }
}
