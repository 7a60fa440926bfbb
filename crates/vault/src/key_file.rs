//! The root key: 32 bytes in a file that only its owner may read. It must never be printed, and a file
//! that others could have read is refused.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use thiserror::Error;
use zeroize::Zeroizing;

use crate::random;

/// The root key of the vault.
pub struct VaultKey(Zeroizing<[u8; 32]>);

/// Why there is no root key.
#[derive(Debug, Error)]
pub enum KeyFileFault {
    /// There is no such file.
    #[error("there is no vault key ({}); `toolgate init` makes one, or bring yours back from its copy", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A new key would take the place of an old one.
    #[error("there is a vault key already ({}); it stays", path.display())]
    Exists {
        /// Where it is.
        path: PathBuf,
    },
    /// The file's mode lets others read or write it.
    #[error("others can read {} (mode {mode:04o}); chmod 600 {}", name(path), path.display())]
    OthersCanRead {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is another user's.
    #[error("{} belongs to user id {owner}, not to the one that runs this ({}); run as its owner", name(path), path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// It is not a key.
    #[error("{} is not a key of 32 bytes ({}); bring it back from its copy", name(path), path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
    /// The system did not let us.
    #[error("the vault key cannot be used ({}): {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

impl VaultKey {
    /// Makes a key of 256 random bits in a new file of mode 0600, flushed to the disk.
    ///
    /// # Errors
    /// [`KeyFileFault::Exists`] rather than overwriting; [`KeyFileFault::Io`].
    pub fn create(path: &Path) -> Result<Self, KeyFileFault> {
        let key = Self::from_bytes(random::bytes::<32>());
        let written =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).and_then(|mut file| {
                file.write_all(key.reveal())?;
                file.sync_all()?;
                // The name is durable only when its folder is.
                File::open(folder_of(path))?.sync_all()
            });
        match written {
            Ok(()) => Ok(key),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(KeyFileFault::Exists { path: path.into() })
            }
            Err(source) => Err(KeyFileFault::Io { path: path.into(), source }),
        }
    }

    /// Reads the key, having checked on the opened file that it is ours alone.
    ///
    /// # Errors
    /// [`KeyFileFault`], each with what to do.
    pub fn load(path: &Path) -> Result<Self, KeyFileFault> {
        let io = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => KeyFileFault::Missing { path: path.into() },
            _ => KeyFileFault::Io { path: path.into(), source },
        };
        let mut file = File::open(path).map_err(io)?;
        let metadata = file.metadata().map_err(io)?;
        let mode = metadata.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KeyFileFault::OthersCanRead { path: path.into(), mode });
        }
        if metadata.uid() != nix::unistd::geteuid().as_raw() {
            return Err(KeyFileFault::NotOurs { path: path.into(), owner: metadata.uid() });
        }
        if !metadata.is_file() || metadata.len() != 32 {
            return Err(KeyFileFault::NotAKey { path: path.into() });
        }
        let mut bytes = Zeroizing::new([0u8; 32]);
        file.read_exact(&mut *bytes).map_err(io)?;
        Ok(Self(bytes))
    }

    /// A key of given bytes: for tests, and for homes that live in memory only.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub(crate) fn reveal(&self) -> &[u8] {
        &*self.0
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn a_new_key_is_random_ours_alone_and_loads_again() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one.key"), folder.path().join("two.key"));
        let made = VaultKey::create(&one).unwrap();
        assert_eq!(fs::metadata(&one).unwrap().mode() & 0o777, 0o600);
        assert_eq!(VaultKey::load(&one).unwrap().reveal(), made.reveal());
        assert_ne!(VaultKey::create(&two).unwrap().reveal(), made.reveal());
        assert!(matches!(VaultKey::create(&one), Err(KeyFileFault::Exists { .. })));
        assert_eq!(VaultKey::load(&one).unwrap().reveal(), made.reveal());
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vault.key");
        VaultKey::create(&path).unwrap();
        for mode in [0o644, 0o640, 0o604, 0o620, 0o601] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let fault = VaultKey::load(&path).err().unwrap();
            assert_eq!(
                fault.to_string(),
                format!("others can read vault.key (mode {mode:04o}); chmod 600 {}", path.display())
            );
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        assert!(VaultKey::load(&path).is_ok());
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vault.key");
        assert!(matches!(VaultKey::load(&path), Err(KeyFileFault::Missing { .. })));
        for length in [0, 31, 33] {
            fs::write(&path, vec![1; length]).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            assert!(matches!(VaultKey::load(&path), Err(KeyFileFault::NotAKey { .. })), "{length}");
        }
    }
}
