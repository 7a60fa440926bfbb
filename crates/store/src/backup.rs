//! A copy of a store on a file, while gateways go on: one moment of it, whole, checked and flushed before it has its name.

use std::{fs, path::Path, time::Duration};

use crate::{Place, StoreError, Verification, fresh_file::FreshFile, moment::Moment, sqlite};

/// How often somebody who waits is told how far it is.
const TOLD_EVERY: Duration = Duration::from_millis(100);

/// A backup that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// The schema's number.
    pub schema: i64,
    /// The file's length.
    pub bytes: u64,
    /// What a check of its trail found.
    pub trail: Verification,
}

/// Writes what the store at `from` is at this moment into the new file `to`, for its owner alone. Whoever writes to the
/// store meanwhile goes on; an older schema stays as it is. `progress` is told how many bytes of about how many are
/// written.
///
/// # Errors
/// [`StoreError::Exists`], [`StoreError::NotWhole`], or whatever the store at `from` is told to have wrong with it. Then
/// there is no file `to`.
pub async fn backup(from: &Path, to: &Path, progress: impl FnMut(u64, u64)) -> Result<Backup, StoreError> {
    // What is none of ours is not copied.
    Moment::of(&from.into()).await?.close().await;
    let fresh = FreshFile::reserve(to)?;
    write_whole(from, fresh.partial(), progress).await?;
    let (schema, trail) = check_whole(fresh.partial()).await?;
    let bytes = fs::metadata(fresh.partial()).map_or(0, |file| file.len());
    fresh.keep()?;
    Ok(Backup { schema, bytes, trail })
}

/// Writes one moment of the database at `from` into the empty file `to`.
pub async fn write_whole(
    from: &Path,
    to: &Path,
    mut progress: impl FnMut(u64, u64),
) -> Result<(), StoreError> {
    let name = to.to_str().ok_or_else(|| StoreError::NotWhole {
        path: to.to_owned(),
        why: "its name is not UTF-8".to_owned(),
    })?;
    // Behind the threads that calls wait for.
    let connections = sqlite::peoples_readers(from, 1);
    let named = |error| sqlite::not_a_store(from, error);
    let mut connection = connections.acquire().await.map_err(named)?;
    let size = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
    let all: i64 = sqlx::query_scalar(size).fetch_one(&mut *connection).await.map_err(named)?;
    let all = u64::try_from(all).unwrap_or(0);
    let mut writing = Box::pin(sqlx::query("VACUUM INTO $1").bind(name).execute(&mut *connection));
    loop {
        tokio::select! {
            biased;
            written = &mut writing => {
                written.map_err(named)?;
                break;
            }
            () = tokio::time::sleep(TOLD_EVERY) => {
                progress(fs::metadata(to).map_or(0, |file| file.len()).min(all), all);
            }
        }
    }
    drop(writing);
    drop(connection);
    connections.close().await;
    Ok(())
}

/// Checks every page, the schema and the trail of a file that nobody has open: its schema, and what the trail is like.
///
/// # Errors
/// [`StoreError::NotWhole`] when a page is not what it should be; [`StoreError::Newer`].
pub async fn check_whole(path: &Path) -> Result<(i64, Verification), StoreError> {
    let connections = sqlite::readers(path, 1);
    let checked = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&connections).await;
    connections.close().await;
    let not_whole = |why: String| StoreError::NotWhole { path: path.to_owned(), why };
    let found: String = checked.map_err(|error| not_whole(error.to_string()))?;
    if found != "ok" {
        return Err(not_whole(found.lines().next().unwrap_or_default().to_owned()));
    }
    let mut moment = Moment::of(&Place::from(path)).await?;
    let (schema, trail) = (moment.schema, moment.verify(|_, _| {}).await);
    moment.close().await;
    Ok((schema, trail?))
}
