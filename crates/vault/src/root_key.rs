//! The root key: 32 bytes from a file, a text or a passphrase. It must never be printed, and a file that others
//! could have read is refused.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use base64::{
    Engine as _,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use domain::system::system_words;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::random;

/// The root key of the vault. It opens the key ring and does nothing else.
pub struct RootKey(Zeroizing<[u8; 32]>);

/// A text that is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("it is not 32 bytes as 64 hexadecimal digits or as base64; `openssl rand -hex 32` makes one")]
pub struct NotAKeyText;

/// A passphrase could not be turned into a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the passphrase could not be turned into a key; is there 128 MiB of free memory?")]
pub struct PassphraseFault;

/// Why there is no root key.
#[derive(Debug, Error)]
pub enum KeyFileFault {
    /// Another process replaces the key right now.
    #[error("another command is changing the vault key ({}); wait until it is done", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// There is no such file.
    #[error("there is no vault key ({}); bring back the copy of it", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A new key would take the place of an old one.
    #[error("there is a vault key already ({}); it stays as it is", path.display())]
    Exists {
        /// Where it is.
        path: PathBuf,
    },
    /// The file's mode lets others read or write it.
    #[error(
        "others can read {} (mode {mode:04o}); chmod 600 {}, and if it was seen: toolgate vault rekey",
        name(path),
        path.display()
    )]
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
    #[error("the vault key cannot be used ({}, {}); check its owner and mode", path.display(), system_words(source))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

impl RootKey {
    /// Makes a key of 256 random bits in a new file of mode 0600, flushed to the disk.
    ///
    /// # Errors
    /// [`KeyFileFault::Exists`] rather than overwriting; [`KeyFileFault::Io`].
    pub fn create(path: &Path) -> Result<Self, KeyFileFault> {
        let key = Self::generate();
        match key.write_new(path) {
            Ok(()) => Ok(key),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(KeyFileFault::Exists { path: path.into() })
            }
            Err(source) => Err(KeyFileFault::Io { path: path.into(), source }),
        }
    }

    /// 256 random bits.
    #[must_use]
    pub fn generate() -> Self {
        Self(Zeroizing::new(random::bytes::<32>()))
    }

    pub(crate) fn write_new(&self, path: &Path) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(self.reveal())?;
        file.sync_all()?;
        // The name is durable only when its folder is.
        File::open(folder_of(path))?.sync_all()
    }

    /// Reads the key, having checked on the opened file that it is ours alone. One that root hands over may be readable
    /// by the group that root gave it: Kubernetes' secret volumes and systemd's credentials come so.
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
        if !metadata.is_file() {
            return Err(KeyFileFault::NotAKey { path: path.into() });
        }
        check_access(metadata.uid(), mode, nix::unistd::geteuid().as_raw()).map_err(
            |not_ours| match not_ours {
                Access::OthersToo => KeyFileFault::OthersCanRead { path: path.into(), mode },
                Access::Foreign => KeyFileFault::NotOurs { path: path.into(), owner: metadata.uid() },
            },
        )?;
        if metadata.len() != 32 {
            return Err(KeyFileFault::NotAKey { path: path.into() });
        }
        let mut bytes = Zeroizing::new([0u8; 32]);
        file.read_exact(&mut *bytes).map_err(io)?;
        Ok(Self(bytes))
    }

    /// Reads a key that was written as text: 64 hexadecimal digits, or base64 of either alphabet (RFC 4648), with
    /// or without padding. Blanks around it do not count.
    ///
    /// # Errors
    /// [`NotAKeyText`]; it does not repeat the text.
    pub fn from_text(text: &str) -> Result<Self, NotAKeyText> {
        let text = text.trim();
        let mut bytes = Zeroizing::new([0u8; 32]);
        if text.len() == 64 {
            for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
                let digit = |at: usize| pair.get(at).and_then(|digit| char::from(*digit).to_digit(16));
                let (Some(high), Some(low)) = (digit(0), digit(1)) else { return Err(NotAKeyText) };
                *byte = u8::try_from(high * 16 + low).map_err(|_| NotAKeyText)?;
            }
            return Ok(Self(bytes));
        }
        let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        for alphabet in [&STANDARD, &URL_SAFE] {
            if let Ok(decoded) = GeneralPurpose::new(alphabet, config).decode(text).map(Zeroizing::new)
                && decoded.len() == bytes.len()
            {
                bytes.copy_from_slice(&decoded);
                return Ok(Self(bytes));
            }
        }
        Err(NotAKeyText)
    }

    /// Makes a key of a passphrase by scrypt (RFC 7914), N = 2^17, r = 8, p = 1: about half a second and 128 MiB.
    ///
    /// # Errors
    /// [`PassphraseFault`].
    pub fn from_passphrase(passphrase: &str, salt: &[u8; 16]) -> Result<Self, PassphraseFault> {
        let params = scrypt::Params::new(17, 8, 1).map_err(|_| PassphraseFault)?;
        let mut bytes = Zeroizing::new([0u8; 32]);
        scrypt::scrypt(passphrase.as_bytes(), salt, &params, &mut *bytes).map_err(|_| PassphraseFault)?;
        Ok(Self(bytes))
    }

    /// A key of given bytes: for tests.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub(crate) fn reveal(&self) -> &[u8] {
        &*self.0
    }
}

/// Why a key file is not ours alone.
#[derive(Debug, PartialEq, Eq)]
enum Access {
    /// Others can read or write it.
    OthersToo,
    /// It is another user's.
    Foreign,
}

fn check_access(owner: u32, mode: u32, we: u32) -> Result<(), Access> {
    const ROOT: u32 = 0;
    let is_handed_over = owner == ROOT && we != ROOT;
    let others = if is_handed_over { 0o037 } else { 0o077 };
    if mode & others != 0 {
        return Err(Access::OthersToo);
    }
    if owner == we || is_handed_over { Ok(()) } else { Err(Access::Foreign) }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn a_new_key_is_random_ours_alone_and_loads_again() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one.key"), folder.path().join("two.key"));
        let made = RootKey::create(&one).unwrap();
        assert_eq!(fs::metadata(&one).unwrap().mode() & 0o777, 0o600);
        assert_eq!(RootKey::load(&one).unwrap().reveal(), made.reveal());
        assert_ne!(RootKey::create(&two).unwrap().reveal(), made.reveal());
        assert!(matches!(RootKey::create(&one), Err(KeyFileFault::Exists { .. })));
        assert_eq!(RootKey::load(&one).unwrap().reveal(), made.reveal());
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vault.key");
        RootKey::create(&path).unwrap();
        for mode in [0o644, 0o640, 0o604, 0o620, 0o601] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let fault = RootKey::load(&path).err().unwrap();
            assert_eq!(
                fault.to_string(),
                format!(
                    "others can read vault.key (mode {mode:04o}); chmod 600 {}, and if it was seen: toolgate vault rekey",
                    path.display()
                )
            );
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        assert!(RootKey::load(&path).is_ok());
    }

    #[test]
    fn root_may_hand_a_key_over_to_a_group_and_to_nobody_else() {
        const ADA: u32 = 1_000;
        for (owner, mode, we, outcome) in [
            (ADA, 0o600, ADA, Ok(())),
            (ADA, 0o400, ADA, Ok(())),
            (ADA, 0o440, ADA, Err(Access::OthersToo)),
            (0, 0o440, ADA, Ok(())),
            (0, 0o640, ADA, Ok(())),
            (0, 0o400, ADA, Ok(())),
            (0, 0o460, ADA, Err(Access::OthersToo)),
            (0, 0o444, ADA, Err(Access::OthersToo)),
            (0, 0o440, 0, Err(Access::OthersToo)),
            (0, 0o600, 0, Ok(())),
            (ADA, 0o600, 0, Err(Access::Foreign)),
            (1_001, 0o400, ADA, Err(Access::Foreign)),
        ] {
            assert_eq!(check_access(owner, mode, we), outcome, "{owner} {mode:o} {we}");
        }
    }

    #[test]
    fn a_key_as_text_is_hexadecimal_or_base64() {
        let bytes: Vec<u8> = (0xe0..=0xff).collect();
        let hex = "e0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff";
        for text in [
            hex,
            &hex.to_uppercase(),
            "4OHi4+Tl5ufo6err7O3u7/Dx8vP09fb3+Pn6+/z9/v8=",
            "4OHi4+Tl5ufo6err7O3u7/Dx8vP09fb3+Pn6+/z9/v8",
            "4OHi4-Tl5ufo6err7O3u7_Dx8vP09fb3-Pn6-_z9_v8\n",
        ] {
            assert_eq!(RootKey::from_text(text).unwrap().reveal(), bytes, "{text}");
        }
        for bad in [
            "",
            hex.strip_prefix('e').unwrap(),
            &format!("{hex}00"),
            &hex.replace('e', "g"),
            "4OHi4+Tl",
            "+f0e",
            "ääää",
        ] {
            assert!(RootKey::from_text(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_passphrase_gives_the_key_that_scrypt_says() {
        // Computed with Python's `hashlib.scrypt`: n = 131072, r = 8, p = 1, salt 16 × 0x03.
        let key = RootKey::from_passphrase("correct horse battery", &[3; 16]).unwrap();
        let mut hex = String::new();
        domain::audit::push_hex(&mut hex, key.reveal());
        assert_eq!(hex, "229412ad26db6eb4facc40003b4aae8bfc2eaac69f9edd326ae8b2897eba6d9a");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vault.key");
        assert!(matches!(RootKey::load(&path), Err(KeyFileFault::Missing { .. })));
        for length in [0, 31, 33] {
            fs::write(&path, vec![1; length]).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            assert!(matches!(RootKey::load(&path), Err(KeyFileFault::NotAKey { .. })), "{length}");
        }
    }
}
