//! Where a store is: a file of SQLite, or a database of a Postgres server.

use std::{
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
    str::FromStr as _,
};

use sqlx::{
    ConnectOptions as _,
    postgres::{PgConnectOptions, PgSslMode},
};
use thiserror::Error;

/// A text is no address of a server. It is not repeated: it may have a password in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("this is no address of a Postgres server")]
pub struct NoServerUrl;

/// Where a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// This file.
    File(PathBuf),
    /// This database.
    Server(ServerUrl),
}

/// A `postgres://user:password@host:port/database?sslmode=…` that was read. The password is shown nowhere.
#[derive(Clone)]
pub struct ServerUrl {
    text: String,
    options: PgConnectOptions,
}

impl ServerUrl {
    /// Reads a URL. What it leaves out is taken from the variables that `psql` reads (`PGUSER`, `PGPASSWORD` …), but for
    /// one thing: without `sslmode` a server on another machine must prove who it is (`verify-full`).
    ///
    /// # Errors
    /// [`NoServerUrl`].
    pub fn parse(text: &str) -> Result<Self, NoServerUrl> {
        let rest = ["postgres://", "postgresql://"].iter().find_map(|scheme| text.strip_prefix(scheme));
        let rest = rest.ok_or(NoServerUrl)?;
        // What its reader says may repeat a part of it.
        let options = PgConnectOptions::from_str(text).map_err(|_| NoServerUrl)?;
        let query = rest.split_once('?').map_or("", |(_, query)| query);
        let says_sslmode = ["sslmode=", "ssl-mode="].iter().any(|name| query.contains(name));
        let options =
            if says_sslmode || is_here(&options) { options } else { options.ssl_mode(PgSslMode::VerifyFull) };
        Ok(Self { text: text.to_owned(), options: options.disable_statement_logging() })
    }

    pub(crate) fn options(&self) -> PgConnectOptions {
        self.options.clone()
    }
}

/// Whether the server is on this machine: then nobody stands between.
fn is_here(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    options.get_socket().is_some()
        || host.starts_with('/')
        || host == "localhost"
        || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl PartialEq for ServerUrl {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for ServerUrl {}

/// As people see it: who, where, which database; never the password.
impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (options, user) = (&self.options, self.options.get_username());
        let database = options.get_database().unwrap_or(user);
        match options.get_socket() {
            Some(folder) => write!(f, "postgres://{user}@{}/{database}", folder.display()),
            None => write!(f, "postgres://{user}@{}:{}/{database}", options.get_host(), options.get_port()),
        }
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerUrl({self})")
    }
}

impl Place {
    /// The database's name, for people.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::File(_) => "SQLite",
            Self::Server(_) => "Postgres",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Server(url) => url.fmt(f),
        }
    }
}

impl From<PathBuf> for Place {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl From<&Path> for Place {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

impl From<ServerUrl> for Place {
    fn from(url: ServerUrl) -> Self {
        Self::Server(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_shown_nowhere() {
        let texts = [
            "postgres://ada:s3cret@db.example.com/toolgate",
            "postgresql://ada:s3cret@[::1]:6543/toolgate?sslmode=disable",
            "postgres://ada@localhost/toolgate?password=s3cret",
            "postgres:///toolgate?host=/run/s3&user=ada&password=s3cret",
        ];
        for text in texts {
            let url = ServerUrl::parse(text).unwrap();
            let shown = format!("{url} {url:?} {:?}", Place::from(url.clone()));
            assert!(!shown.contains("s3cret"), "{shown}");
            assert!(shown.contains("ada"), "{shown}");
        }
        for bad in [
            "mysql://a:s3cret@b/c",
            "postgres://a:s3cret@b:port/c",
            "postgres://a:s3cret@b/c?sslmode=s3cret1",
        ] {
            assert_eq!(ServerUrl::parse(bad).err(), Some(NoServerUrl), "{bad}");
        }
    }

    #[test]
    fn a_server_elsewhere_must_prove_who_it_is_unless_the_url_says_otherwise() {
        let mode = |text: &str| format!("{:?}", ServerUrl::parse(text).unwrap().options.get_ssl_mode());
        assert_eq!(mode("postgres://a@db.example.com/c"), "VerifyFull");
        assert_eq!(mode("postgres://a@10.0.0.7/c"), "VerifyFull");
        assert_eq!(mode("postgres://a@db.example.com/c?sslmode=require"), "Require");
        for here in ["postgres://a@localhost/c", "postgres://a@127.0.0.1/c", "postgres://a@[::1]/c"] {
            assert_eq!(mode(here), "Prefer", "{here}");
        }
    }
}
