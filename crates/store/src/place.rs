//! Where a store is: a SQLite file, or a database on a Postgres server.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr as _,
};

use domain::{address::is_this_machine, trust::Privacy};
use sqlx::{
    ConnectOptions as _,
    postgres::{PgConnectOptions, PgSslMode},
};
use thiserror::Error;

use crate::{StoreError, postgres, sqlite};

/// A text is no address of a server that may be used. It is not repeated: it may have a password in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadServerUrl {
    /// It cannot be read.
    #[error("this is no address of a Postgres server")]
    Unreadable,
    /// It says something that nothing reads: a misspelt `sslmode` would be none.
    #[error("this address has a parameter behind `?` that nothing reads")]
    UnknownParameter,
    /// `sslmode=prefer` and `allow` end in the clear whenever somebody on the way says so.
    #[error("this address gives up TLS when somebody on the way says so (`sslmode`)")]
    GivesUp,
    /// `sslmode=verify-ca`: a certificate of any authority for any name would do.
    #[error("this address looks at the server's certificate and not at its name (`sslmode=verify-ca`)")]
    AnyName,
    /// An authority is named, and its certificate is not looked at.
    #[error("an authority is named, and this address asks the server for no certificate (`sslmode`)")]
    Unasked,
}

impl BadServerUrl {
    /// What to write in its place.
    #[must_use]
    pub fn instead(self) -> &'static str {
        match self {
            Self::Unreadable => "write it like `postgres://user:password@host/database`",
            Self::UnknownParameter => {
                "known are sslmode, sslrootcert, sslcert, sslkey, host, hostaddr, port, dbname, user, password, \
                 application_name and options"
            }
            Self::GivesUp => {
                "leave it out, which is `verify-full`, or say `require` or `disable` and mean it"
            }
            Self::AnyName | Self::Unasked => "leave it out, which is `verify-full`",
        }
    }
}

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
    options: Box<PgConnectOptions>,
    says_mode: bool,
}

/// What a URL may say behind `?`. Its reader passes over everything else.
const PARAMETERS: [&str; 18] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

impl ServerUrl {
    /// Reads a URL. What it leaves out is taken from the variables that `psql` reads (`PGUSER`, `PGPASSWORD` …), but for
    /// one thing: without `sslmode` a server on another machine, and one whose authority is named, must prove who it is
    /// (`verify-full`). Of the modes that libpq has, those are refused that only look like TLS.
    ///
    /// # Errors
    /// [`BadServerUrl`].
    pub fn parse(text: &str) -> Result<Self, BadServerUrl> {
        let rest = ["postgres://", "postgresql://"].iter().find_map(|scheme| text.strip_prefix(scheme));
        let rest = rest.ok_or(BadServerUrl::Unreadable)?;
        // What its reader says may repeat a part of it.
        let options = PgConnectOptions::from_str(text).map_err(|_| BadServerUrl::Unreadable)?;
        let query = rest.split_once('?').map_or("", |(_, query)| query);
        let name = |pair: &'_ str| pair.split_once('=').map_or(pair, |(name, _)| name).to_owned();
        let is_known =
            |name: &str| PARAMETERS.contains(&name) || (name.starts_with("options[") && name.ends_with(']'));
        if !query.split('&').filter(|pair| !pair.is_empty()).map(name).all(|name| is_known(&name)) {
            return Err(BadServerUrl::UnknownParameter);
        }
        let says = |names: &[&str]| {
            query.split('&').any(|pair| names.contains(&pair.split_once('=').map_or(pair, |(name, _)| name)))
        };
        let (says_mode, names_authority) =
            (says(&["sslmode", "ssl-mode"]), says(&["sslrootcert", "ssl-root-cert", "ssl-ca"]));
        let is_here = is_here(&options);
        let options = match (says_mode, options.get_ssl_mode()) {
            (true, PgSslMode::VerifyCa) => return Err(BadServerUrl::AnyName),
            (true, PgSslMode::VerifyFull) => options,
            (true, _) if names_authority => return Err(BadServerUrl::Unasked),
            (true, PgSslMode::Allow | PgSslMode::Prefer) if !is_here => return Err(BadServerUrl::GivesUp),
            (true, _) => options,
            (false, _) if is_here && !names_authority => options,
            (false, _) => options.ssl_mode(PgSslMode::VerifyFull),
        };
        Ok(Self { text: text.to_owned(), options: Box::new(options.disable_statement_logging()), says_mode })
    }

    /// The same server with this password, in place of one that the URL or a variable has.
    #[must_use]
    pub fn with_password(&self, password: &str) -> Self {
        Self { options: Box::new(self.options().password(password)), ..self.clone() }
    }

    /// The same server, which must prove who it is by a certificate of one of these authorities (PEM), or of a well-known
    /// one.
    ///
    /// # Errors
    /// [`BadServerUrl::Unasked`] when the URL says otherwise.
    pub fn with_authority(&self, pem: &str) -> Result<Self, BadServerUrl> {
        if self.says_mode && !matches!(self.options.get_ssl_mode(), PgSslMode::VerifyFull) {
            return Err(BadServerUrl::Unasked);
        }
        let options = self.options().ssl_root_cert_from_pem(pem.into()).ssl_mode(PgSslMode::VerifyFull);
        Ok(Self { options: Box::new(options), ..self.clone() })
    }

    /// Who can read what is said to it.
    #[must_use]
    pub fn privacy(&self) -> Privacy {
        match self.options.get_ssl_mode() {
            PgSslMode::VerifyFull => Privacy::Proven,
            _ if is_here(&self.options) => Privacy::Here,
            PgSslMode::Require | PgSslMode::VerifyCa => Privacy::Unproven,
            PgSslMode::Disable | PgSslMode::Allow | PgSslMode::Prefer => Privacy::Clear,
        }
    }

    pub(crate) fn options(&self) -> PgConnectOptions {
        PgConnectOptions::clone(&self.options)
    }
}

/// Whether the server is on this machine: then nobody stands between.
fn is_here(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    options.get_socket().is_some() || host.starts_with('/') || is_this_machine(host)
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
    /// Reads a place as people write it: `postgres://…`, `sqlite:FILE`, `sqlite://FILE`, or a file's path.
    ///
    /// # Errors
    /// [`BadServerUrl`] for an address of a server that cannot be used.
    pub fn parse(text: &str) -> Result<Self, BadServerUrl> {
        if let Some(path) = text.strip_prefix("sqlite://").or_else(|| text.strip_prefix("sqlite:")) {
            return Ok(Self::File(path.into()));
        }
        // What looks like an address is one, or a mistake; a file can be written as `./postgres:`.
        match text.contains("://") || text.starts_with("postgres") && text.contains(':') {
            true => ServerUrl::parse(text).map(Self::Server),
            false => Ok(Self::File(text.into())),
        }
    }

    /// Whether a gateway runs on the store at this moment.
    ///
    /// # Errors
    /// [`StoreError`] when a server does not say.
    pub async fn is_served(&self) -> Result<bool, StoreError> {
        match self {
            Self::File(path) => sqlite::is_served(path),
            Self::Server(url) => postgres::is_served(url).await,
        }
    }

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
        for bad in ["sslmod=require", "sslmode=require&s3cret", "connect_timeout=1"] {
            let bad = format!("postgres://a@b/c?{bad}");
            assert_eq!(ServerUrl::parse(&bad).err(), Some(BadServerUrl::UnknownParameter), "{bad}");
        }
        assert!(ServerUrl::parse("postgres://a@b/c?options[search_path]=x&sslmode=require").is_ok());
        for bad in [
            "mysql://a:s3cret@b/c",
            "postgres://a:s3cret@b:port/c",
            "postgres://a:s3cret@b/c?sslmode=s3cret1",
        ] {
            assert_eq!(ServerUrl::parse(bad).err(), Some(BadServerUrl::Unreadable), "{bad}");
        }
    }

    #[test]
    fn a_place_is_read_as_people_write_it() {
        for (text, path) in [
            ("sqlite:///srv/a.db", "/srv/a.db"),
            ("sqlite://a.db", "a.db"),
            ("sqlite:a.db", "a.db"),
            ("/srv/x:y.db", "/srv/x:y.db"),
            ("toolgate.db", "toolgate.db"),
        ] {
            assert_eq!(Place::parse(text), Ok(Place::File(path.into())), "{text}");
        }
        assert!(matches!(Place::parse("postgresql://a@b/c"), Ok(Place::Server(_))));
        for bad in ["mysql://a@b/c", "postgres:a", "http://a/b.db"] {
            assert_eq!(Place::parse(bad), Err(BadServerUrl::Unreadable), "{bad}");
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
            assert_eq!(mode(&format!("{here}?sslrootcert=ca.pem")), "VerifyFull", "{here}");
        }
        // A word in another parameter is no mode.
        assert_eq!(mode("postgres://a@db.example.com/c?application_name=sslmode=disable"), "VerifyFull");
    }

    #[test]
    fn modes_that_only_look_like_tls_are_refused() {
        for (query, bad) in [
            ("sslmode=prefer", BadServerUrl::GivesUp),
            ("sslmode=allow", BadServerUrl::GivesUp),
            ("ssl-mode=prefer", BadServerUrl::GivesUp),
            ("sslmode=verify-ca", BadServerUrl::AnyName),
            ("sslmode=require&sslrootcert=ca.pem", BadServerUrl::Unasked),
            ("ssl-ca=ca.pem&sslmode=disable", BadServerUrl::Unasked),
        ] {
            let text = format!("postgres://ada:s3cret@db.example.com/c?{query}");
            assert_eq!(ServerUrl::parse(&text).err(), Some(bad), "{query}");
        }
        assert!(ServerUrl::parse("postgres://ada@localhost/c?sslmode=prefer").is_ok());
    }

    #[test]
    fn who_can_listen_is_known() {
        for (text, privacy) in [
            ("postgres://a@localhost/c", Privacy::Here),
            ("postgres://a@localhost/c?host=/run/postgresql", Privacy::Here),
            ("postgres://a@localhost/c?sslmode=require", Privacy::Here),
            ("postgres://a@db.example.com/c", Privacy::Proven),
            ("postgres://a@db.example.com/c?sslmode=require", Privacy::Unproven),
            ("postgres://a@db.example.com/c?sslmode=disable", Privacy::Clear),
        ] {
            assert_eq!(ServerUrl::parse(text).unwrap().privacy(), privacy, "{text}");
        }
        let url = ServerUrl::parse("postgres://a@localhost/c").unwrap();
        assert_eq!(url.with_authority("").unwrap().privacy(), Privacy::Proven);
        let plain = ServerUrl::parse("postgres://a@db/c?sslmode=require").unwrap();
        assert_eq!(plain.with_authority("").err(), Some(BadServerUrl::Unasked));
    }
}
