//! The first connection to a server, and in one sentence why there is none. Nothing is sent in the clear to a server that
//! must prove who it is: without TLS, or with a wrong certificate, it learns that somebody knocked and nothing else.

use std::{io, time::Duration};

use domain::{clock::Apart, clock::Clock, foreign::escape_foreign, trust::Distrust};
use jiff::Timestamp;
use rustls::{AlertDescription, CertificateError, Error as TlsError};
use sqlx::{Connection as _, PgConnection, PgPool, Postgres, pool::PoolConnection};

use super::{options, refuse_standby};
use crate::{ServerUrl, StoreError, sql::in_time};

/// How long a server that did not let the pool connect may take to say why.
const PROBE_MAX: Duration = Duration::from_secs(2);
/// How often clocks are compared; the quickest answer counts.
const LOOKS: usize = 3;

/// The pool's first connection.
///
/// # Errors
/// [`StoreError::Untrusted`], [`StoreError::Unreachable`], [`StoreError::NotLetIn`], [`StoreError::NoFile`].
pub async fn first(pool: &PgPool, url: &ServerUrl) -> Result<PoolConnection<Postgres>, StoreError> {
    match pool.acquire().await {
        Ok(connection) => Ok(connection),
        // It tried for all that time, and does not tell what it was told.
        Err(sqlx::Error::PoolTimedOut) => Err(probe(url).await),
        Err(error) => Err(explain(error, url)),
    }
}

async fn probe(url: &ServerUrl) -> StoreError {
    let attempt = async {
        let mut connection = PgConnection::connect_with(&options(url)).await?;
        refuse_standby(&mut connection).await?;
        connection.close().await
    };
    match tokio::time::timeout(PROBE_MAX, attempt).await {
        Ok(Err(error)) => explain(error, url),
        Ok(Ok(())) | Err(_) => unreachable(url, "it does not answer in time"),
    }
}

fn explain(error: sqlx::Error, url: &ServerUrl) -> StoreError {
    if let Some(why) = distrust(&error) {
        return StoreError::Untrusted { place: url.clone().into(), why };
    }
    match error {
        // A socket file that is not there is a server that is not there.
        sqlx::Error::Io(error)
            if error.kind() == io::ErrorKind::NotFound && url.options().get_socket().is_none() =>
        {
            StoreError::NoFile { place: url.clone().into(), why: error.to_string() }
        }
        sqlx::Error::Tls(error) => StoreError::NoFile { place: url.clone().into(), why: error.to_string() },
        // A name that leads nowhere has no kind of its own.
        sqlx::Error::Io(error) if error.to_string().starts_with("failed to lookup address") => {
            unreachable(url, "its name cannot be resolved")
        }
        sqlx::Error::Io(error) => unreachable(url, &error.kind().to_string()),
        sqlx::Error::PoolTimedOut => unreachable(url, "it does not answer in time"),
        sqlx::Error::Configuration(error) => unreachable(url, &error.to_string()),
        sqlx::Error::Database(error) => {
            // Classes 28 and 3D of SQLSTATE, and a privilege that is missing: who, with what, where to.
            let is_refusal = |code: &str| code.starts_with("28") || code.starts_with("3D") || code == "42501";
            if error.code().is_some_and(|code| is_refusal(&code)) {
                let said = escape_foreign(error.message()).into_owned();
                return StoreError::NotLetIn { place: url.clone().into(), said };
            }
            StoreError::Database(sqlx::Error::Database(error))
        }
        other => StoreError::Database(other),
    }
}

fn unreachable(url: &ServerUrl, why: &str) -> StoreError {
    StoreError::Unreachable { place: url.clone().into(), why: why.to_owned() }
}

/// Whether an error says that the server is not who it should be.
fn distrust(error: &sqlx::Error) -> Option<Distrust> {
    let tls: Option<&TlsError> = match error {
        sqlx::Error::Io(error) => error.get_ref()?.downcast_ref(),
        sqlx::Error::Tls(error) if error.to_string() == "server does not support TLS" => {
            return Some(Distrust::NoTls);
        }
        sqlx::Error::Tls(error) => error.downcast_ref(),
        _ => None,
    };
    Some(match tls? {
        TlsError::InvalidCertificate(wrong) => match wrong {
            // The latter: by one of the same name, whose key is another.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Distrust::UnknownAuthority,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Distrust::OtherName
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Distrust::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Distrust::NotYetValid
            }
            // webpki's own words, which rustls hands on as they are.
            CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
                Distrust::Authority
            }
            _ => Distrust::Unfit,
        },
        TlsError::AlertReceived(AlertDescription::CertificateRequired) => Distrust::WantsOurs,
        _ => Distrust::Unfit,
    })
}

/// The version of TLS that a connection speaks, as the server names it; `None`: none.
pub async fn tls(connection: &mut PgConnection) -> Result<Option<String>, sqlx::Error> {
    // Whoever is on the way may have ended the encryption: the server is asked, not our own setting.
    let version = "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl";
    in_time(sqlx::query_scalar(version).fetch_optional(connection)).await.map(Option::flatten)
}

/// The role that owns our schema, where that is not the one that is connected: it can change whatever is in there.
pub async fn other_owner(connection: &mut PgConnection) -> Result<Option<String>, sqlx::Error> {
    let owner = "SELECT CAST(pg_get_userbyid(nspowner) AS text) FROM pg_namespace \
                 WHERE nspname = 'toolgate' AND pg_get_userbyid(nspowner) <> current_user";
    in_time(sqlx::query_scalar(owner).fetch_optional(connection)).await
}

/// How far the server's clock is from ours.
pub async fn clock(connection: &mut PgConnection, clock: &dyn Clock) -> Result<Apart, sqlx::Error> {
    let read = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)";
    let mut best: Option<Apart> = None;
    for _ in 0..LOOKS {
        let asked = clock.now();
        let there: i64 = in_time(sqlx::query_scalar(read).fetch_one(&mut *connection)).await?;
        let there = Timestamp::from_microsecond(there).map_err(|error| sqlx::Error::Decode(error.into()))?;
        let apart = Apart::between(asked, there, clock.now());
        if best.is_none_or(|best| apart.doubt < best.doubt) {
            best = Some(apart);
        }
    }
    best.ok_or(sqlx::Error::RowNotFound)
}
