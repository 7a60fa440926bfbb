//! The home: the one folder that holds all state of an embedded install (contract §1).
//! It only knows where things are; it reads and writes nothing.

use std::{
    ffi::OsString,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use nix::unistd::User;

/// Where an install lives.
#[derive(Debug, Clone)]
pub struct Home {
    path: PathBuf,
    is_default: bool,
}

impl Home {
    /// Finds the home: `--home`, else `$TOOLGATE_HOME`, else `$XDG_DATA_HOME/toolgate`, else
    /// `~/.local/share/toolgate`. Empty variables count as unset, and so does a relative `$XDG_DATA_HOME`
    /// (XDG base directory specification). `None` when nothing of it is known.
    #[must_use]
    pub fn find(flag: Option<PathBuf>, variable: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let default = set("XDG_DATA_HOME")
            .filter(|path| path.is_absolute())
            .or_else(|| Some(set("HOME")?.join(".local/share")))
            .map(|data| data.join("toolgate"));
        let path = flag.or_else(|| set("TOOLGATE_HOME")).or_else(|| default.clone())?;
        let path = std::path::absolute(&path).unwrap_or(path);
        Some(Self { is_default: default.is_some_and(|default| default == path), path })
    }

    /// A home at `path`, whatever the default is.
    #[cfg(test)]
    pub fn at(path: PathBuf) -> Self {
        Self { path, is_default: false }
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether commands find it without `--home`.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.is_default
    }

    /// The home's owner, when that is a user who logs in: agents that run as the same user can read it.
    /// Users of the system, who own a home only to run a gateway, have no login shell.
    #[must_use]
    pub fn login_owner(&self) -> Option<String> {
        let owner = std::fs::metadata(&self.path).ok()?.uid();
        let user = User::from_uid(owner.into()).ok()??;
        let shell = user.shell.file_name().unwrap_or_default();
        (!["", "nologin", "false", "sync"].iter().any(|none| shell == *none)).then_some(user.name)
    }

    /// The settings file.
    #[must_use]
    pub fn settings_file(&self) -> PathBuf {
        self.path.join("toolgate.yaml")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(flag: Option<&str>, variables: &[(&str, &str)]) -> Home {
        let variables: Vec<_> = variables.to_vec();
        Home::find(flag.map(PathBuf::from), |name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        })
        .unwrap()
    }

    #[test]
    fn the_flag_wins_over_the_variables_in_their_order() {
        let all = [("TOOLGATE_HOME", "/b"), ("XDG_DATA_HOME", "/c"), ("HOME", "/d")];
        assert_eq!(find(Some("/a"), &all).path(), Path::new("/a"));
        assert_eq!(find(None, &all).path(), Path::new("/b"));
        assert_eq!(find(None, &all[1..]).path(), Path::new("/c/toolgate"));
        assert_eq!(find(None, &all[2..]).path(), Path::new("/d/.local/share/toolgate"));
        assert!(Home::find(None, |_| None).is_none());
    }

    #[test]
    fn empty_variables_and_a_relative_data_folder_count_as_unset() {
        let home = find(None, &[("TOOLGATE_HOME", ""), ("XDG_DATA_HOME", "x"), ("HOME", "/d")]);
        assert_eq!(home.path(), Path::new("/d/.local/share/toolgate"));
    }

    #[test]
    fn only_the_default_place_needs_no_flag() {
        assert!(find(None, &[("HOME", "/d")]).is_default());
        assert!(find(Some("/d/.local/share/toolgate"), &[("HOME", "/d")]).is_default());
        assert!(!find(None, &[("TOOLGATE_HOME", "/b"), ("HOME", "/d")]).is_default());
    }
}
