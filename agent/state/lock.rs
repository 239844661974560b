//! The lock on the runtime directory, which keeps a second agent from overwriting the state of the first.
//!
//! It is a separate file, because everybody who may read a file may lock it (flock(2)): only the agent and root may
//! open this one. Members of the group mc-idle may replace it with something else, which is then moved away.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, Stat, fchown, flock, fstat, openat, renameat, statat,
    unlinkat,
};
use rustix::io::{Errno, Result};
use rustix::process::geteuid;

use crate::state::state_file::StateError;

/// The file's name.
pub const NAME: &str = "lock";
/// Somebody who keeps replacing the file has to win this many races.
const TRIES: usize = 32;

/// Takes the lock on `folder`. It is held while the returned file is open.
///
/// # Errors
/// Another agent has it ([`StateError::InUse`]), there is no such folder ([`StateError::Folder`]), or the lock cannot
/// be taken there ([`StateError::NoLock`]).
pub fn take(folder: &Path) -> std::result::Result<File, StateError> {
    let no_folder = |errno: Errno| StateError::Folder(errno.into());
    let no_lock = |errno: Errno| StateError::NoLock(errno.into());
    let folder = openat(CWD, folder, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(no_folder)?;
    let owner = fstat(&folder).map_err(no_folder)?.st_uid;
    for _ in 0..TRIES {
        let Some(file) = open(&folder, owner).map_err(no_lock)? else {
            move_away(&folder).map_err(no_lock)?;
            continue;
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) if is_in_place(&folder, &file) => return Ok(file.into()),
            // Moved away since it was opened.
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(StateError::InUse),
            Err(errno) => return Err(no_lock(errno)),
        }
    }
    Err(StateError::NoLock(io::Error::other("something else keeps taking its place")))
}

/// Opens the file, or creates it; `None`: something else is in its place.
fn open(folder: &OwnedFd, owner: u32) -> Result<Option<OwnedFd>> {
    // Without NONBLOCK opening a pipe could hang.
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match openat(folder, NAME, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => file,
        // A link, a folder, a socket, or another user's file.
        Err(Errno::LOOP | Errno::ISDIR | Errno::NXIO | Errno::ACCESS) if stat(folder).is_ok() => return Ok(None),
        Err(errno) => return Err(errno),
    };
    let stat = fstat(&file)?;
    if !is_ours(&stat, owner) {
        return Ok(None);
    }
    if geteuid().is_root() && stat.st_uid != owner {
        // The agent that owns the folder has to be able to open it.
        fchown(&file, Some(rustix::fs::Uid::from_raw(owner)), None)?;
    }
    Ok(Some(file))
}

fn is_ours(stat: &Stat, owner_of_the_folder: u32) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
        && [owner_of_the_folder, geteuid().as_raw()].contains(&stat.st_uid)
        && stat.st_mode.trailing_zeros() >= 6
}

fn stat(folder: &OwnedFd) -> Result<Stat> {
    statat(folder, NAME, AtFlags::SYMLINK_NOFOLLOW)
}

fn is_in_place(folder: &OwnedFd, file: &OwnedFd) -> bool {
    let id = |stat: Stat| (stat.st_dev, stat.st_ino);
    matches!((stat(folder).map(id), fstat(file).map(id)), (Ok(there), Ok(here)) if there == here)
}

fn move_away(folder: &OwnedFd) -> Result<()> {
    match unlinkat(folder, NAME, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR) => match unlinkat(folder, NAME, AtFlags::REMOVEDIR) {
            // Its contents are not the agent's to remove.
            Err(Errno::NOTEMPTY | Errno::EXIST) => {
                renameat(folder, NAME, folder, format!("{NAME}.{:016x}", fastrand::u64(..)))
            }
            removed => removed,
        },
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;

    use rustix::fs::mknodat;

    use super::*;

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        (folder, path)
    }

    fn locked(path: &Path) -> File {
        let file = File::open(path).unwrap();
        flock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
        file
    }

    #[test]
    fn is_had_by_one_at_a_time_and_nobody_else_may_open_it() {
        let (folder, path) = folder();
        let lock = take(folder.path()).unwrap();
        assert!(matches!(take(folder.path()), Err(StateError::InUse)));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(lock);
        let inode = fs::metadata(&path).unwrap().ino();
        take(folder.path()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().ino(), inode, "the file stays");
    }

    #[test]
    fn a_lock_on_the_folder_is_nobody_s_hindrance() {
        let (folder, _) = folder();
        let _locked = locked(folder.path());
        take(folder.path()).unwrap();
    }

    #[test]
    fn what_somebody_has_put_in_its_place_is_moved_away() {
        type Put = fn(&Path);
        let (folder, path) = folder();
        let other = folder.path().join("other");
        fs::write(&other, "not to be touched").unwrap();
        let in_its_place: [(&str, Put); 6] = [
            ("a file that everybody may open", |path| {
                fs::write(path, "").unwrap();
                fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
            }),
            ("a link", |path| symlink("other", path).unwrap()),
            ("a pipe", |path| mknodat(CWD, path, FileType::Fifo, Mode::from(0o666), 0).unwrap()),
            ("a socket", |path| drop(UnixListener::bind(path).unwrap())),
            ("a folder", |path| fs::create_dir(path).unwrap()),
            ("a folder with something in it", |path| fs::create_dir_all(path.join("in it")).unwrap()),
        ];
        for (what, put) in in_its_place {
            put(&path);
            // Its owner keeps it locked.
            let _locked = what.contains("may open").then(|| locked(&path));
            let lock = take(folder.path()).unwrap_or_else(|error| panic!("{what}: {error}"));
            let stat = fs::symlink_metadata(&path).unwrap();
            assert!(stat.is_file() && stat.permissions().mode() & 0o777 == 0o600, "{what}");
            drop(lock);
            fs::remove_file(&path).unwrap();
        }
        assert_eq!(fs::read_to_string(&other).unwrap(), "not to be touched");
    }

    #[test]
    fn somebody_else_s_file_is_no_lock_and_that_of_the_folder_s_owner_is() {
        if !geteuid().is_root() {
            eprintln!("skipped: needs root");
            return;
        }
        let (folder, path) = folder();
        let private = |owner| {
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            chown(&path, Some(owner), None).unwrap();
            (locked(&path), fs::metadata(&path).unwrap().ino())
        };
        let (_held, inode) = private(65534);
        take(folder.path()).unwrap();
        assert_ne!(fs::metadata(&path).unwrap().ino(), inode);
        fs::remove_file(&path).unwrap();
        // The agent's folder, and an operator who starts another one by hand.
        chown(folder.path(), Some(65534), None).unwrap();
        let (held, inode) = private(65534);
        assert!(matches!(take(folder.path()), Err(StateError::InUse)));
        drop(held);
        take(folder.path()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
        fs::remove_file(&path).unwrap();
        take(folder.path()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().uid(), 65534, "the agent could not open root's");
    }

    #[test]
    fn a_folder_that_is_not_there_is_said_and_so_is_one_that_takes_no_file() {
        assert!(matches!(take(Path::new("/nonexistent/mc-idle")), Err(StateError::Folder(_))));
        // Not even root can create files there.
        let error = take(Path::new("/proc/self/fd")).unwrap_err();
        assert!(matches!(error, StateError::NoLock(_)), "{error}");
    }
}
