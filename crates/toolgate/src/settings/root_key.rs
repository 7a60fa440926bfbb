//! Where the vault's root key comes from.

use std::path::PathBuf;

use super::{Choices, Faults};

/// Where the vault's root key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootKeySource {
    /// A file of 32 bytes.
    File(PathBuf),
    /// The environment variable of this name: 64 hex digits or base64.
    Variable(String),
    /// A passphrase in the environment variable of this name.
    Passphrase(String),
}

impl RootKeySource {
    pub(super) fn build(choices: &Choices, file: PathBuf) -> Result<Self, Faults> {
        let [key, passphrase] =
            ["vault.key_env", "vault.passphrase_env"].map(|path| choices.text(path).map(str::to_owned));
        let chosen = [
            ("vault.key_file", choices.is_chosen("vault.key_file")),
            ("vault.key_env", key.is_some()),
            ("vault.passphrase_env", passphrase.is_some()),
        ];
        let chosen: Vec<&str> = chosen.into_iter().filter(|(_, is)| *is).map(|(path, _)| path).collect();
        if chosen.len() > 1 {
            return Err(Faults::One(format!(
                "the vault has one key, and {} are set; keep one of them",
                chosen.join(" and ")
            )));
        }
        Ok(match (key, passphrase) {
            (Some(name), _) => Self::Variable(name),
            (None, Some(name)) => Self::Passphrase(name),
            (None, None) => Self::File(file),
        })
    }

    /// The source in few words.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Variable(name) => format!("key in ${name}"),
            Self::Passphrase(name) => format!("passphrase in ${name}"),
        }
    }
}
