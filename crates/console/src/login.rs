//! Logging in: limited by address, by account, and by how many hashes the machine can compute at once.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use admin::{AdminError, Client, CreatedToken, OpenedSession};
use domain::{
    operator::{Email, TokenLifetime},
    quota::{Gcra, Quota, Tat, gcra},
};
use http::header;
use tokio::sync::Semaphore;

use crate::{Desk, asked::Asked, problem::Problem};

/// Wrong logins from one address: so many at once, then one each twelve seconds.
const WRONG_PER_ADDRESS: &str = "20/4m";
/// Addresses that are remembered.
const ADDRESSES_MAX: usize = 10_000;
/// Passwords that are hashed at once: each takes 64 MiB and a tenth of a second of one core.
const HASHED_AT_ONCE: usize = 2;
/// Logins that wait for it.
const WAITING_MAX: usize = 16;

/// What keeps guessing slow.
pub struct Logins {
    hashing: Arc<Semaphore>,
    waiting: AtomicUsize,
    addresses: Mutex<HashMap<IpAddr, Tat>>,
}

impl Default for Logins {
    fn default() -> Self {
        Self {
            hashing: Arc::new(Semaphore::new(HASHED_AT_ONCE)),
            waiting: AtomicUsize::new(0),
            addresses: Mutex::default(),
        }
    }
}

impl Logins {
    /// Counts a try of an address before it is looked at, so that many at once gain nothing.
    fn count(&self, source: IpAddr, now: Duration) -> Result<Option<Tat>, Problem> {
        let Ok(quota) = Quota::parse(WRONG_PER_ADDRESS) else { return Ok(None) };
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if addresses.len() >= ADDRESSES_MAX {
            addresses.retain(|_, tat| tat.full_at(&quota) > now);
        }
        let before = addresses.get(&source).copied();
        if before.is_none() && addresses.len() >= ADDRESSES_MAX {
            return Err(Problem::too_many_tries(60));
        }
        match gcra(before.unwrap_or_default(), now, &quota) {
            Gcra::Admit { tat } => {
                addresses.insert(source, tat);
                Ok(before)
            }
            Gcra::Refuse { retry_after } => Err(Problem::too_many_tries(retry_after.as_secs() + 1)),
        }
    }

    /// A right password costs nothing.
    fn give_back(&self, source: IpAddr, before: Option<Tat>) {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        match before {
            Some(tat) => addresses.insert(source, tat),
            None => addresses.remove(&source),
        };
    }
}

/// Where a request comes from, for the list of logins.
fn client(asked: &Asked) -> Client {
    Client {
        address: asked.source.to_string(),
        browser: asked.header(header::USER_AGENT).unwrap_or_default().to_owned(),
    }
}

/// Opens a session. Whatever is wrong with address or password: the answer is the same, and takes as long.
///
/// # Errors
/// 401, 429, 503.
pub(crate) async fn log_in(asked: &Asked, email: &str, password: &str) -> Result<OpenedSession, Problem> {
    // Nobody can have such an address; whoever types it learns nothing from the short way.
    let email = Email::parse(email).map_err(|_| AdminError::WrongCredentials);
    let (now, password, client) = (asked.now.wall, password.to_owned(), client(asked));
    proving(asked, async move |desk| {
        desk.admin.open_session(now, &desk.sessions, (&email?, &password), &client).await
    })
    .await
}

/// Changes the password of who asks, for whoever knows the old one. Guessing here is as slow as guessing at the login.
///
/// # Errors
/// 401, 422, 429, 503.
pub(crate) async fn change_password(asked: &Asked, old: &str, new: &str) -> Result<OpenedSession, Problem> {
    let (operator, client) = (asked.who()?.operator.clone(), client(asked));
    let (now, old, new) = (asked.now.wall, old.to_owned(), new.to_owned());
    proving(asked, async move |desk| {
        desk.admin.change_password(now, &desk.sessions, &operator, (&old, &new), &client).await
    })
    .await
}

/// Makes a token for an operator's script, for whoever knows that operator's password. Guessing here is as slow as
/// guessing at the login.
///
/// # Errors
/// 401, 429, 503.
pub(crate) async fn mint_token(
    asked: &Asked,
    email: Email,
    password: &str,
    lifetime: TokenLifetime,
) -> Result<CreatedToken, Problem> {
    let (now, password) = (asked.now.wall, password.to_owned());
    proving(asked, async move |desk| {
        desk.admin.create_token(now, &desk.sessions.pepper, (&email, &password), lifetime).await
    })
    .await
}

/// Does what looks at a password. It counts against the address that asks, unless the password is right.
async fn proving<T: Send + 'static>(
    asked: &Asked,
    what: impl AsyncFnOnce(&Desk) -> Result<T, AdminError> + Send + 'static,
) -> Result<T, Problem> {
    let logins = &asked.desk.logins;
    let source = network(asked.source);
    let before = logins.count(source, asked.now.monotonic)?;
    let done = hashing(asked, what).await?;
    logins.give_back(source, before);
    Ok(done)
}

/// Does what hashes a password, on a thread of its own and not too many at once.
///
/// # Errors
/// Those of what is done; 503 when too many wait.
pub(crate) async fn hashing<T: Send + 'static>(
    asked: &Asked,
    what: impl AsyncFnOnce(&Desk) -> Result<T, AdminError> + Send + 'static,
) -> Result<T, Problem> {
    let logins = &asked.desk.logins;
    if logins.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX {
        logins.waiting.fetch_sub(1, Ordering::Relaxed);
        return Err(Problem::unavailable("too many people log in at once; repeat in a moment"));
    }
    let seat = Arc::clone(&logins.hashing).acquire_owned().await;
    logins.waiting.fetch_sub(1, Ordering::Relaxed);
    let Ok(seat) = seat else { return Err(Problem::unavailable("the console stops")) };
    let desk = Arc::clone(&asked.desk);
    let hashed = tokio::task::spawn_blocking(move || {
        let _seat = seat;
        tokio::runtime::Handle::current().block_on(what(&desk))
    });
    Ok(hashed.await.map_err(|_| Problem::internal("it broke off while a password was hashed"))??)
}

/// Who is counted together: an IPv6 network of 64 bits belongs to one.
fn network(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(_) => source,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_wrong_tries_and_right_ones_cost_nothing() {
        let logins = Logins::default();
        let (here, there) = ("127.0.0.1".parse().unwrap(), "127.0.0.2".parse().unwrap());
        for _ in 0..100 {
            let before = logins.count(here, Duration::ZERO).unwrap();
            logins.give_back(here, before);
        }
        for _ in 0..20 {
            assert!(logins.count(here, Duration::ZERO).is_ok());
        }
        assert_eq!(logins.count(here, Duration::ZERO).unwrap_err().retry_after, Some(13));
        assert!(logins.count(there, Duration::ZERO).is_ok());
        assert!(logins.count(here, Duration::from_secs(12)).is_ok());
        assert!(logins.count(here, Duration::from_secs(12)).is_err());
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let network = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), network("2001:db8:1:2::9"));
        assert_ne!(network("2001:db8:1:2::"), network("2001:db8:1:3::"));
        assert_eq!(network("127.0.0.1"), "127.0.0.1");
    }
}
