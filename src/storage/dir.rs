//! The data directory: its lock, its file system, its free space.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::Error;

/// The lock of a data directory; held until dropped, released by the system when the process dies.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
    dir: PathBuf,
}

impl DirLock {
    /// Creates the directory (mode 0700) where it is missing. Never waits: a directory that another
    /// process holds is refused.
    pub fn acquire(dir: &Path) -> Result<DirLock, Error> {
        let failed = |source| Error::Directory {
            dir: dir.to_owned(),
            source,
        };
        create(dir).map_err(failed)?;
        refuse_network(dir)?;
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(dir.join("lock"))
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::InUse {
                    dir: dir.to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        Ok(DirLock {
            _file: file,
            dir: dir.to_owned(),
        })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

#[cfg(unix)]
fn create(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;

    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
}

#[cfg(not(unix))]
fn create(dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)
}

/// Bytes that this user can still write to the file system of `dir`.
#[cfg(unix)]
pub(super) fn free_bytes(dir: &Path) -> io::Result<u64> {
    let figures = rustix::fs::statvfs(dir)?;
    Ok(figures.f_bavail.saturating_mul(figures.f_frsize))
}

#[cfg(not(unix))]
pub(super) fn free_bytes(_dir: &Path) -> io::Result<u64> {
    Ok(u64::MAX)
}

/// Makes new names in the directory durable.
pub(super) fn sync(dir: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(dir)?.sync_all()?;
    }
    Ok(())
}

/// SQLite's WAL needs shared memory and locks that no network file system gives reliably
/// (sqlite.org/wal.html). FUSE and 9p stay allowed: they are local as often as not.
#[cfg(target_os = "linux")]
fn refuse_network(dir: &Path) -> Result<(), Error> {
    /// `f_type` of statfs(2).
    const NETWORK: [(i64, &str); 9] = [
        (0x6969, "NFS"),
        (0x517B, "SMB"),
        (0xFF53_4D42, "CIFS"),
        (0xFE53_4D42, "SMB2"),
        (0x5346_414F, "AFS"),
        (0x6B41_4653, "AFS"),
        (0x7375_7245, "Coda"),
        (0x00C3_6400, "Ceph"),
        (0x0BD0_0BD0, "Lustre"),
    ];
    let figures = rustix::fs::statfs(dir).map_err(|errno| Error::Directory {
        dir: dir.to_owned(),
        source: errno.into(),
    })?;
    match NETWORK.iter().find(|(magic, _)| *magic == figures.f_type) {
        None => Ok(()),
        Some((_, kind)) => Err(Error::NetworkFileSystem {
            dir: dir.to_owned(),
            kind,
        }),
    }
}

#[cfg(not(target_os = "linux"))]
fn refuse_network(_dir: &Path) -> Result<(), Error> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_directory_is_refused_by_name_and_free_after_drop() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let dir = parent.path().join("data");
        let held = DirLock::acquire(&dir).expect("a new directory");
        let refused = DirLock::acquire(&dir).expect_err("it is held").to_string();
        assert!(refused.contains(&dir.display().to_string()), "{refused}");
        drop(held);
        DirLock::acquire(&dir).expect("free again");
    }

    #[cfg(unix)]
    #[test]
    fn the_directory_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;

        let parent = tempfile::tempdir().expect("a temporary directory");
        let dir = parent.path().join("data");
        let _held = DirLock::acquire(&dir).expect("a new directory");
        let mode = std::fs::metadata(&dir)
            .expect("it exists")
            .permissions()
            .mode();
        assert_eq!(0o700, mode & 0o777);
    }
}
