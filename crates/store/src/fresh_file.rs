//! A file that gets its name only when it is whole. Until then the name belongs to an empty file, so that nobody else takes
//! it, and what is written lies beside it. A process that is killed in between leaves nothing that looks like a store.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use crate::{StoreError, sqlite::beside};

/// What SQLite may leave beside a file.
pub const SIDE_FILES: [&str; 3] = ["-wal", "-shm", "-journal"];

/// A file in the making. Dropped, it leaves nothing.
pub struct FreshFile {
    path: PathBuf,
    partial: PathBuf,
    /// The empty file of that name. Its lock lives as long as this.
    _reserved: File,
    kept: bool,
}

impl FreshFile {
    /// Takes a name that is free, or that a killed process has left with an empty file. Both files are for their owner
    /// alone.
    ///
    /// # Errors
    /// [`StoreError::Exists`], [`StoreError::BeingWritten`], [`StoreError::Io`].
    pub fn reserve(path: &Path) -> Result<Self, StoreError> {
        let io = |source| StoreError::Io { path: path.to_owned(), source };
        // SQLite takes a name that begins with `file:` for something else than a name.
        let path = std::path::absolute(path).map_err(io)?;
        let mut options = OpenOptions::new();
        let opened = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let exists = || StoreError::Exists { path: path.clone() };
        let reserved = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => return Err(exists()),
            Err(error) => return Err(io(error)),
        };
        let found = reserved.metadata().map_err(io)?;
        if !found.is_file() || found.len() > 0 {
            return Err(exists());
        }
        match reserved.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::BeingWritten { path }),
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        // Somebody else may have finished between our look and our lock.
        let now = fs::metadata(&path).map_err(io)?;
        if (now.ino(), now.dev(), now.len()) != (found.ino(), found.dev(), 0) {
            return Err(exists());
        }
        let fresh = Self { partial: beside(&path, ".partial"), path, _reserved: reserved, kept: false };
        fresh.remove_partial();
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh.partial);
        made.map_err(|source| StoreError::Io { path: fresh.partial.clone(), source })?;
        Ok(fresh)
    }

    /// Where to write. The file is there, and empty.
    pub fn partial(&self) -> &Path {
        &self.partial
    }

    /// Flushes what was written and gives it its name.
    ///
    /// # Errors
    /// [`StoreError::Io`]; then nothing is left.
    pub fn keep(mut self) -> Result<(), StoreError> {
        let flushed = File::open(&self.partial).and_then(|file| file.sync_all());
        let named = flushed.and_then(|()| fs::rename(&self.partial, &self.path));
        named.map_err(|source| StoreError::Io { path: self.path.clone(), source })?;
        self.kept = true;
        flush_folder(&self.path)
    }

    fn remove_partial(&self) {
        // What is not there need not go; what cannot go is told when it is made anew.
        let _ = fs::remove_file(&self.partial);
        for end in SIDE_FILES {
            let _ = fs::remove_file(beside(&self.partial, end));
        }
    }
}

impl Drop for FreshFile {
    fn drop(&mut self) {
        if !self.kept {
            self.remove_partial();
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes the names in the file's folder durable.
///
/// # Errors
/// [`StoreError::Io`].
pub fn flush_folder(path: &Path) -> Result<(), StoreError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let flushed = File::open(folder).and_then(|folder| folder.sync_all());
    flushed.map_err(|source| StoreError::Io { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_given_when_the_file_is_whole_and_to_one_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let fresh = FreshFile::reserve(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 0);
        assert!(matches!(FreshFile::reserve(&path), Err(StoreError::BeingWritten { .. })));
        fs::write(fresh.partial(), "whole").unwrap();
        fresh.keep().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(matches!(FreshFile::reserve(&path), Err(StoreError::Exists { .. })));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_given_up_or_killed_is_in_nobodys_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        drop(FreshFile::reserve(&path).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        // As a killed process leaves it.
        fs::write(&path, "").unwrap();
        fs::write(folder.path().join("a.db.partial"), "half").unwrap();
        let fresh = FreshFile::reserve(&path).unwrap();
        assert_eq!(fs::read(fresh.partial()).unwrap(), b"");
        assert!(matches!(FreshFile::reserve(folder.path()), Err(StoreError::Exists { .. })));
    }
}
