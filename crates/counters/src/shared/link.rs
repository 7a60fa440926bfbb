//! The connection to the counting server: made, marked, given up, made again.

use std::{error::Error, fmt, io, sync::Arc, time::Duration};

use domain::{
    address::is_this_machine,
    clock::{Apart, Clock},
    trust::{Distrust, Privacy},
};
use jiff::Timestamp;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisError,
    RedisResult, TlsCertificates, aio::MultiplexedConnection, io::tcp::TcpSettings,
};
use rustls::{AlertDescription, CertificateError, Error as TlsError};

use super::Shared;

/// How long a connection may take to come up.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// The pause before the next attempt: doubled from one to the other.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// How often clocks are compared; the quickest answer counts.
const LOOKS: usize = 3;

/// Why no server can count. The URL may hold a password, so it is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadServer {
    /// The URL cannot be used.
    #[error("it is no URL of a Redis or Valkey server")]
    Url,
    /// `#insecure`.
    #[error("`#insecure` would believe whoever answers")]
    Insecure,
    /// Authorities are named, and the URL asks for no TLS.
    #[error("an authority is named, and the URL asks for no TLS")]
    Unasked,
    /// The authorities cannot be read.
    #[error("the certificates of its authorities cannot be read")]
    Authority,
}

/// Why a server does not count now, in words for operators; without addresses and passwords.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// It is not believed; it was told nothing.
    Untrusted(Distrust),
    /// Something else.
    Other(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untrusted(why) => f.write_str(why.what()),
            Self::Other(what) => f.write_str(what),
        }
    }
}

/// What [`Shared::check`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// What the server calls itself: `Redis 7.0.15`, `Valkey 8.1.0`.
    pub server: String,
    /// Whether the way to it is encrypted.
    pub tls: bool,
    /// How far its clock is from ours.
    pub clock: Apart,
}

impl Reach {
    /// What it calls itself, without its version.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.server.split_once(' ').map_or(&self.server, |(kind, _)| kind)
    }
}

/// A client for a URL. Small commands must not wait for Nagle's algorithm.
pub(super) fn client(url: &str, authority: Option<&str>) -> Result<Client, BadServer> {
    let info = info_of(url)?.set_tcp_settings(TcpSettings::default().set_nodelay(true));
    match (info.addr(), authority) {
        (ConnectionAddr::TcpTls { insecure: true, .. }, _) => Err(BadServer::Insecure),
        (_, None) => Client::open(info).map_err(|_| BadServer::Url),
        (ConnectionAddr::TcpTls { .. }, Some(pem)) => {
            let certificates = TlsCertificates { client_tls: None, root_cert: Some(pem.into()) };
            Client::build_with_tls(info, certificates).map_err(|_| BadServer::Authority)
        }
        (_, Some(_)) => Err(BadServer::Unasked),
    }
}

fn info_of(url: &str) -> Result<ConnectionInfo, BadServer> {
    url.into_connection_info().map_err(|_| BadServer::Url)
}

/// Who can read what is said to the server of a URL; nobody, where it is none.
#[must_use]
pub fn privacy(url: &str) -> Privacy {
    match info_of(url).map(|info| info.addr().clone()) {
        Ok(ConnectionAddr::TcpTls { .. }) => Privacy::Proven,
        Ok(ConnectionAddr::Tcp(host, _)) if !is_this_machine(&host) => Privacy::Clear,
        _ => Privacy::Here,
    }
}

impl Trouble {
    /// What went wrong.
    pub(super) fn of(error: &RedisError) -> Self {
        if let Some(why) = distrust(error) {
            return Self::Untrusted(why);
        }
        Self::Other(if error.is_timeout() {
            "it does not answer in time".to_owned()
        } else if error.is_connection_refusal() {
            "connection refused".to_owned()
        } else if error.is_io_error() || error.is_connection_dropped() {
            "the connection broke off".to_owned()
        } else {
            match error.code() {
                Some("NOAUTH") => "it wants a password".to_owned(),
                Some(code) => format!("it answers {code}"),
                None => error.category().to_owned(),
            }
        })
    }
}

/// Whether an error says that the server is not who it should be.
fn distrust(error: &RedisError) -> Option<Distrust> {
    // Its cause is behind a pointer, which is an error of its own.
    let cause = error.source()?.downcast_ref::<Arc<dyn Error + Send + Sync>>()?;
    let io = cause.downcast_ref::<io::Error>()?;
    Some(match io.get_ref()?.downcast_ref::<TlsError>()? {
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
        // What Redis says to who speaks TLS where it expects commands.
        TlsError::InvalidMessage(_) => Distrust::NoTls,
        _ => Distrust::Unfit,
    })
}

impl Shared {
    /// Connects, and connects again whenever the server was lost. Run it as a task of its own.
    pub async fn run(self: Arc<Self>) {
        let mut pause = PAUSES.0;
        loop {
            if self.is_up() {
                self.lost.notified().await;
                pause = PAUSES.0;
                continue;
            }
            match self.connect().await {
                Ok(()) => self.tell_back(),
                Err(why) => {
                    self.tell_lost(&match &why {
                        Trouble::Untrusted(distrust) => format!("{why} ({})", distrust.next("counters")),
                        Trouble::Other(_) => why.to_string(),
                    });
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
        }
    }

    /// One attempt to reach the server.
    ///
    /// # Errors
    /// What is wrong, in words for operators.
    pub async fn connect(&self) -> Result<(), Trouble> {
        let attempt = async {
            let mut link = self.open().await?;
            self.mark(&mut link).await?;
            Ok(link)
        };
        let link = self.in_time(attempt).await?;
        self.link.store(Some(Arc::new(link)));
        self.marked.send_replace(true);
        Ok(())
    }

    /// Whether the server can be reached, runs scripts on this install's keys, and what is to be known of it. Nothing is
    /// counted or marked: that is for who counts.
    ///
    /// # Errors
    /// What is wrong, in words for operators.
    pub async fn check(&self, clock: &dyn Clock) -> Result<Reach, Trouble> {
        let look = async {
            let mut link = self.open().await?;
            let info = info(&mut link).await?;
            let marker = format!("{}:server", self.prefix);
            // No bucket is named, so none is touched.
            let _: (i64, u64) = self.take.key(marker).invoke_async(&mut link).await?;
            Ok((info, clock_of(&mut link, clock).await?))
        };
        let (info, clock) = self.in_time(look).await?;
        let server = match (field(&info, "valkey_version"), field(&info, "redis_version")) {
            (Some(version), _) => format!("Valkey {version}"),
            (None, Some(version)) => format!("Redis {version}"),
            (None, None) => "a server of unknown kind".to_owned(),
        };
        Ok(Reach { server, tls: self.wants_tls(), clock })
    }

    fn wants_tls(&self) -> bool {
        matches!(self.client.get_connection_info().addr(), ConnectionAddr::TcpTls { .. })
    }

    async fn in_time<T>(&self, answer: impl Future<Output = RedisResult<T>>) -> Result<T, Trouble> {
        match tokio::time::timeout(CONNECT_WITHIN, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if !error.is_timeout() => Err(Trouble::of(&error)),
            // Redis takes a TLS greeting for the begin of a command, and waits for the rest.
            _ if self.wants_tls() => {
                Err(Trouble::Other("it does not answer in time, or speaks no TLS".to_owned()))
            }
            _ => Err(Trouble::Other("it does not answer in time".to_owned())),
        }
    }

    /// How far the server's clock is from ours; `None` while it is away.
    pub async fn clock(&self, clock: &dyn Clock) -> Option<Apart> {
        let mut link = MultiplexedConnection::clone(&*self.link.load_full()?);
        self.in_time(clock_of(&mut link, clock)).await.ok()
    }

    async fn open(&self) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_WITHIN))
            .set_response_timeout(Some(CONNECT_WITHIN));
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }

    /// Makes sure that this server is the one that is counted with: another one, or one that has lost its memory, takes
    /// every bucket for spent (its limits start empty).
    pub(super) async fn mark(&self, link: &mut MultiplexedConnection) -> RedisResult<()> {
        let info = info(link).await?;
        let run_id = field(&info, "run_id").unwrap_or("unknown").to_owned();
        let (_since, found): (String, String) = self
            .adopt
            .key(format!("{}:server", self.prefix))
            .arg(&run_id)
            .arg(self.known())
            .arg(if self.counted { "1" } else { "0" })
            .invoke_async(link)
            .await?;
        if found == "1" {
            tracing::warn!(
                "the server that counts remembers nothing of before; limits start empty (counters.url)"
            );
        }
        self.know(run_id);
        Ok(())
    }
}

async fn clock_of(link: &mut MultiplexedConnection, clock: &dyn Clock) -> RedisResult<Apart> {
    let mut best: Option<Apart> = None;
    for _ in 0..LOOKS {
        let asked = clock.now();
        let (seconds, micros): (i64, i64) = redis::cmd("TIME").query_async(link).await?;
        let there = seconds.checked_mul(1_000_000).and_then(|whole| whole.checked_add(micros));
        let there = there.and_then(|there| Timestamp::from_microsecond(there).ok());
        let there = there.ok_or((redis::ErrorKind::UnexpectedReturnType, "its clock cannot be read"))?;
        let apart = Apart::between(asked, there, clock.now());
        if best.is_none_or(|best| apart.doubt < best.doubt) {
            best = Some(apart);
        }
    }
    best.ok_or_else(|| (redis::ErrorKind::Client, "its clock was not read").into())
}

async fn info(link: &mut MultiplexedConnection) -> RedisResult<String> {
    redis::cmd("INFO").arg("server").query_async(link).await
}

/// A line `name:value` of what `INFO` answers.
fn field<'t>(info: &'t str, name: &str) -> Option<&'t str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}
