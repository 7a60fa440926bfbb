//! Replacing the key file so that a crash at any moment leaves a key that opens the ring: the new key is written
//! beside the old one, then the ring is committed under it, then it takes the old one's place.

use std::{
    ffi::OsString,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use crate::{KeyFileFault, RootKey, root_key::folder_of};

/// The right to replace the key at a path. While it lives, no other process can.
pub struct KeyLock {
    path: PathBuf,
    lock: File,
}

/// A new root key that lies beside the old one. While it exists, no other process can replace the key.
pub struct NextKey {
    key: RootKey,
    path: PathBuf,
    next: PathBuf,
    _lock: File,
}

impl KeyLock {
    /// Takes the right to replace the key at `path`; nothing is written yet.
    ///
    /// # Errors
    /// [`KeyFileFault::Busy`] while another process has it, [`KeyFileFault::Io`].
    pub fn take(path: &Path) -> Result<Self, KeyFileFault> {
        let locked = lock(path).map_err(|source| KeyFileFault::Io { path: path.into(), source })?;
        let lock = locked.ok_or_else(|| KeyFileFault::Busy { path: path.into() })?;
        Ok(Self { path: path.into(), lock })
    }

    /// Writes a new random key into `<path>.next`, flushed to the disk. What a crash left there is overwritten, and
    /// may be the only key that opens the ring: so the caller must have opened it with the key at `path`, under this
    /// lock.
    ///
    /// # Errors
    /// [`KeyFileFault::Io`].
    pub fn write_next(self) -> Result<NextKey, KeyFileFault> {
        let Self { path, lock } = self;
        let io = |source| KeyFileFault::Io { path: path.clone(), source };
        let next = next_of(&path);
        match fs::remove_file(&next) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
        let key = RootKey::generate();
        key.write_new(&next).map_err(io)?;
        Ok(NextKey { key, path, next, _lock: lock })
    }
}

impl RootKey {
    /// The key that a crash may have left in `<path>.next`.
    ///
    /// # Errors
    /// As [`RootKey::load`].
    pub fn load_next(path: &Path) -> Result<Self, KeyFileFault> {
        Self::load(&next_of(path))
    }

    /// Puts `<path>.next`, which is this key and opens the ring, in the place of `path`. Nothing happens when
    /// another process is at it, or when the file is another one by now.
    ///
    /// # Errors
    /// [`KeyFileFault::Io`].
    pub fn finish_replacing(&self, path: &Path) -> Result<(), KeyFileFault> {
        let io = |source| KeyFileFault::Io { path: path.into(), source };
        let Some(_lock) = lock(path).map_err(io)? else { return Ok(()) };
        match Self::load_next(path) {
            Ok(next) if next.reveal() == self.reveal() => replace(&next_of(path), path).map_err(io),
            _ => Ok(()),
        }
    }
}

impl NextKey {
    /// The new key.
    #[must_use]
    pub fn key(&self) -> &RootKey {
        &self.key
    }

    /// The new key takes the old one's place. Call it once the ring is committed under the new key.
    ///
    /// # Errors
    /// [`KeyFileFault::Io`]; then the next start does it.
    pub fn take_its_place(self) -> Result<(), KeyFileFault> {
        replace(&self.next, &self.path).map_err(|source| KeyFileFault::Io { path: self.path.clone(), source })
    }

    /// Removes the new key: nothing is sealed under it.
    pub fn abandon(self) {
        // What stays is overwritten the next time.
        let _ = fs::remove_file(&self.next);
    }
}

fn next_of(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".next");
    name.into()
}

fn replace(next: &Path, path: &Path) -> io::Result<()> {
    fs::rename(next, path)?;
    // The new name is durable only when its folder is.
    File::open(folder_of(path))?.sync_all()
}

/// Locks the folder, because the file itself is replaced; `None` while another process has it. The lock ends with
/// the process at the latest.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let folder = File::open(folder_of(path))?;
    match folder.try_lock() {
        Ok(()) => Ok(Some(folder)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_key_stays_until_the_new_one_takes_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vault.key");
        let old = RootKey::create(&path).unwrap();
        let next = KeyLock::take(&path).unwrap().write_next().unwrap();
        assert_eq!(RootKey::load(&path).unwrap().reveal(), old.reveal());
        assert!(matches!(KeyLock::take(&path), Err(KeyFileFault::Busy { .. })));
        let bytes = next.key().reveal().to_vec();
        RootKey::load_next(&path).unwrap().finish_replacing(&path).unwrap();
        assert_eq!(RootKey::load(&path).unwrap().reveal(), old.reveal(), "somebody else is at it");
        next.take_its_place().unwrap();
        assert_eq!(RootKey::load(&path).unwrap().reveal(), bytes);
        assert!(RootKey::load_next(&path).is_err());
    }

    #[test]
    fn a_replacement_that_a_crash_cut_off_is_finished_or_started_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vault.key");
        RootKey::create(&path).unwrap();
        drop(KeyLock::take(&path).unwrap().write_next().unwrap());
        let left = RootKey::load_next(&path).unwrap();
        drop(KeyLock::take(&path).unwrap());
        assert_eq!(RootKey::load_next(&path).unwrap().reveal(), left.reveal(), "looking costs nothing");
        RootKey::generate().finish_replacing(&path).unwrap();
        assert!(RootKey::load_next(&path).is_ok(), "another key is not finished");
        left.finish_replacing(&path).unwrap();
        assert_eq!(RootKey::load(&path).unwrap().reveal(), left.reveal());
        drop(KeyLock::take(&path).unwrap().write_next().unwrap());
        let next = KeyLock::take(&path).unwrap().write_next().unwrap();
        assert_eq!(RootKey::load_next(&path).unwrap().reveal(), next.key().reveal());
        next.abandon();
        assert!(RootKey::load_next(&path).is_err());
        assert_eq!(RootKey::load(&path).unwrap().reveal(), left.reveal());
    }
}
