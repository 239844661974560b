//! Reads files that others may have put there, without ever blocking and within bounds.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::process::geteuid;

/// The longest file that is read, in bytes.
const LONGEST: u64 = 1024 * 1024;
/// The same for files that the agent itself writes. `status.json` has about 170 bytes per connection.
const LONGEST_OF_THE_AGENT: u64 = 64 * 1024 * 1024;

/// The content of `path`. A pipe, a device or a link in its place is refused: otherwise anybody who may write to the
/// folder could make the reader wait forever (open(2), `O_NONBLOCK`, `O_NOFOLLOW`).
///
/// # Errors
/// It does not exist, cannot be read, is not a regular file, or is longer than 1 MiB.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    content(open(path)?, LONGEST)
}

/// The content of `path` if this process's own user has written it, up to 64 MiB.
///
/// # Errors
/// Those of [`read`], except for the length; or it belongs to somebody else.
pub fn read_own(path: &Path) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let owner = file.metadata()?.uid();
    if owner == geteuid().as_raw() { content(file, LONGEST_OF_THE_AGENT) } else { Err(foreign(owner)) }
}

/// The content of `path` if the agent has written it, up to 64 MiB: a file of root, of the user that the runtime
/// directory around it belongs to, or of this process's own user. Others may put files there too, as members of a
/// group.
///
/// # Errors
/// Those of [`read`], except for the length; or it belongs to somebody else.
pub fn read_of_the_agent(path: &Path) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let owner = file.metadata()?.uid();
    let of_the_folder = path.parent().map_or(Ok(owner), |folder| folder.metadata().map(|folder| folder.uid()))?;
    if [0, of_the_folder, geteuid().as_raw()].contains(&owner) {
        content(file, LONGEST_OF_THE_AGENT)
    } else {
        Err(foreign(owner))
    }
}

fn foreign(owner: u32) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, format!("it belongs to the user {owner}, not to mc-idle"))
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

fn content(file: File, longest: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    file.take(longest + 1).read_to_end(&mut content)?;
    if content.len() as u64 > longest {
        let text = format!("it is longer than {} MiB", longest / 1024 / 1024);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

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
        for agents in [read_own, read_of_the_agent] {
            assert_eq!(agents(&path("long")).unwrap().len(), 1024 * 1024 + 1, "as many connections as there may be");
            for name in ["link", "pipe", "missing"] {
                assert!(agents(&path(name)).is_err(), "{name}");
            }
        }
        let endless = File::create(path("endless")).unwrap();
        endless.set_len(LONGEST_OF_THE_AGENT + 1).unwrap();
        let error = read_of_the_agent(&path("endless")).unwrap_err();
        assert_eq!(error.to_string(), "it is longer than 64 MiB");
        let folder = read(folder.path()).unwrap_err();
        assert!(folder.to_string().contains("no regular file"), "{folder}");
    }

    #[test]
    fn what_somebody_else_has_written_is_not_ones_own() {
        // A file of root that everybody may read; root itself uses another user's.
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

    #[test]
    fn the_agent_is_root_or_whom_its_folder_belongs_to() {
        if !geteuid().is_root() {
            eprintln!("skipped: needs root");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("status.json");
        fs::write(&path, "text").unwrap();
        let chown = |path: &Path, user| std::os::unix::fs::chown(path, Some(user), None).unwrap();
        for (of_the_folder, of_the_file, believed) in
            [(65534, 65534, true), (65534, 0, true), (0, 0, true), (0, 65534, false), (65534, 4242, false)]
        {
            chown(folder.path(), of_the_folder);
            chown(&path, of_the_file);
            let read = read_of_the_agent(&path);
            assert_eq!(read.is_ok(), believed, "a file of {of_the_file} in a folder of {of_the_folder}: {read:?}");
        }
    }
}
