//! The connection to the server that counts: made, marked, given up, made again.

use std::{sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, IntoConnectionInfo as _, RedisError, RedisResult,
    aio::MultiplexedConnection, io::tcp::TcpSettings,
};
use thiserror::Error;

use super::Shared;

/// How long a connection may take to come up.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// The pause before the next attempt: doubled from one to the other.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Why no server counts.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadServer {
    /// The URL cannot be used. It may hold a password, so it is not repeated.
    #[error("it is no URL of a Redis or Valkey server")]
    Url,
    /// The server cannot be used now.
    #[error("{0}")]
    Unusable(String),
}

/// What [`Shared::check`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// What the server calls itself: `Redis 7.0.15`, `Valkey 8.1.0`.
    pub server: String,
}

/// A client for a URL. Small commands must not wait for Nagle's algorithm.
pub(super) fn client(url: &str) -> Result<Client, BadServer> {
    let info = url.into_connection_info().map_err(|_| BadServer::Url)?;
    Client::open(info.set_tcp_settings(TcpSettings::default().set_nodelay(true))).map_err(|_| BadServer::Url)
}

/// What went wrong, without addresses and passwords.
pub(super) fn in_words(error: &RedisError) -> String {
    if error.is_timeout() {
        "it does not answer in time".to_owned()
    } else if error.is_connection_refusal() {
        "connection refused".to_owned()
    } else if error.is_io_error() || error.is_connection_dropped() {
        "the connection broke off".to_owned()
    } else {
        match error.code() {
            Some(code) => format!("it answers {code}"),
            None => error.category().to_owned(),
        }
    }
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
                    self.tell_lost(&why);
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
    pub async fn connect(&self) -> Result<(), String> {
        let attempt = async {
            let mut link = self.open().await?;
            self.mark(&mut link).await?;
            Ok(link)
        };
        match tokio::time::timeout(CONNECT_WITHIN, attempt).await {
            Ok(Ok(link)) => {
                self.link.store(Some(Arc::new(link)));
                Ok(())
            }
            Ok(Err(error)) => Err(in_words(&error)),
            Err(_) => Err("it does not answer in time".to_owned()),
        }
    }

    /// Whether the server can be reached and counts.
    ///
    /// # Errors
    /// [`BadServer::Unusable`].
    pub async fn check(&self) -> Result<Reach, BadServer> {
        self.connect().await.map_err(BadServer::Unusable)?;
        let Some(link) = self.link.load_full() else {
            return Err(BadServer::Unusable("the connection broke off".to_owned()));
        };
        let info = info(&mut MultiplexedConnection::clone(&link)).await;
        let info = info.map_err(|error| BadServer::Unusable(in_words(&error)))?;
        let server = match (field(&info, "valkey_version"), field(&info, "redis_version")) {
            (Some(version), _) => format!("Valkey {version}"),
            (None, Some(version)) => format!("Redis {version}"),
            (None, None) => "an unknown server".to_owned(),
        };
        Ok(Reach { server })
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
        let emptied: String = self
            .adopt
            .key(format!("{}:server", self.prefix))
            .arg(&run_id)
            .arg(self.known())
            .invoke_async(link)
            .await?;
        if emptied != "0" && self.known() != run_id {
            tracing::warn!("the server that counts has started anew; limits start empty (counters.url)");
        }
        self.know(run_id);
        Ok(())
    }
}

async fn info(link: &mut MultiplexedConnection) -> RedisResult<String> {
    redis::cmd("INFO").arg("server").query_async(link).await
}

/// A line `name:value` of what `INFO` answers.
fn field<'t>(info: &'t str, name: &str) -> Option<&'t str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}
