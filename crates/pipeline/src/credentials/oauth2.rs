//! `oauth2_client_credentials` and `oauth2_refresh_token`: access tokens are fetched before they are needed, once for
//! all calls, and kept in memory only. While there is a valid one, no call waits.

mod endpoint;
mod grant;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use domain::{
    credential::{CredentialKind, CredentialSlot, OauthClient, SealedCredential},
    names::CredentialName,
    service::Service,
    stop::Fault,
};
use http::header;
use tokio::sync::watch;
use vault::Secret;

use self::{
    endpoint::{Endpoint, Failed, Token},
    grant::{Grant, Keeping},
};
use super::{Injection, Tools};

/// A token that the service refused is used this long all the same: an upstream that says 401 to everything must
/// not make us ask for a token with every call.
const REFUSED_MIN_AGE: Duration = Duration::from_secs(5);
/// The pause after a failed fetch; it doubles with each one that follows.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How often a fetch begins anew because somebody else has saved another refresh token meanwhile.
const LOST_RACES_MAX: usize = 2;

/// Fetches and keeps the access token of one credential.
pub(super) struct TokenSource {
    grant: Arc<Grant>,
    flying: Arc<Flying>,
}

/// What a fetch on a task of its own works with.
struct Flying {
    grant: Arc<Grant>,
    client: OauthClient,
    endpoint: Endpoint,
    /// What the service's other credentials add.
    base: Injection,
    issued: ArcSwapOption<Issued>,
    flight: Mutex<Flight>,
}

/// A token as calls use it. Times are monotonic.
struct Issued {
    injection: Arc<Injection>,
    at: Duration,
    refresh_at: Duration,
    expires_at: Duration,
    spent: Arc<AtomicBool>,
}

type Landing = watch::Receiver<Option<Result<Arc<Injection>, Fault>>>;

/// The fetch that is under way, and how the last ones ended.
#[derive(Default)]
struct Flight {
    under_way: Option<Landing>,
    failures: u32,
    not_before: Duration,
    fault: Option<Fault>,
}

impl TokenSource {
    pub(super) fn new(
        slot: &CredentialSlot,
        value: &Secret,
        version: u64,
        service: &Arc<Service>,
        base: Injection,
        tools: &Tools,
    ) -> Result<Self, String> {
        let (CredentialKind::Oauth2ClientCredentials(client) | CredentialKind::Oauth2RefreshToken(client)) =
            &slot.kind
        else {
            return Err("it is no OAuth credential".into());
        };
        if base.has_header(&header::AUTHORIZATION) || base.signer.is_some() {
            return Err("another credential writes the header `authorization`".into());
        }
        let upstream = service.upstream.http().ok_or("a process takes no OAuth token")?;
        let endpoint = Endpoint::new(&client.token_url, upstream, &tools.dialler)?;
        let grant = Arc::new(Grant::new(slot, value, version, service, tools)?);
        let flying = Flying {
            grant: Arc::clone(&grant),
            client: client.clone(),
            endpoint,
            base,
            issued: ArcSwapOption::empty(),
            flight: Mutex::default(),
        };
        Ok(Self { grant, flying: Arc::new(flying) })
    }

    pub(super) fn is_for(&self, name: &CredentialName) -> bool {
        self.grant.name() == name
    }

    /// Whether this source works with the stored value. A refresh token that another gateway was given out anew is
    /// taken over; what an operator set is not.
    pub(super) fn holds(&self, stored: &SealedCredential, tools: &Tools) -> bool {
        self.grant.holds(stored, tools)
    }

    /// With a token that is good now.
    pub(super) async fn injection(&self) -> Result<Arc<Injection>, Fault> {
        let now = self.grant.now();
        if let Some(issued) = self.flying.issued.load_full().filter(|issued| issued.is_good(now)) {
            if now >= issued.refresh_at {
                // Nobody waits for it; its failure is met by the call that has no good token left.
                let _ = self.take_off(now);
            }
            return Ok(Arc::clone(&issued.injection));
        }
        let mut landing = self.take_off(now)?;
        let ended_early = || Fault::CredentialFailed("the token could not be fetched; see the log".into());
        let landed = landing.wait_for(Option::is_some).await.map_err(|_| ended_early())?;
        landed.clone().unwrap_or_else(|| Err(ended_early()))
    }

    /// Waits for a fetch that is under way.
    pub(super) async fn settle(&self) {
        let landing = self.flying.lock().under_way.clone();
        if let Some(mut landing) = landing {
            // An error means that the task is gone: nothing is left to wait for.
            let _ = landing.wait_for(Option::is_some).await;
        }
    }

    /// Joins the fetch that is under way, or starts one. It ends by itself, whoever waits for it.
    fn take_off(&self, now: Duration) -> Result<Landing, Fault> {
        let mut flight = self.flying.lock();
        // A sender that is gone without a word has panicked.
        if let Some(landing) = flight.under_way.as_ref().filter(|landing| landing.has_changed().is_ok()) {
            return Ok(landing.clone());
        }
        if let Some(fault) = flight.fault.as_ref().filter(|_| now < flight.not_before) {
            return Err(fault.clone());
        }
        let (tell, landing) = watch::channel(None);
        flight.under_way = Some(landing.clone());
        let flying = Arc::clone(&self.flying);
        tokio::spawn(async move {
            let fetched = flying.fetch(now).await;
            tell.send_replace(Some(flying.land(fetched)));
        });
        Ok(landing)
    }
}

impl Flying {
    fn lock(&self) -> MutexGuard<'_, Flight> {
        self.flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a token, one gateway at a time, and saves the refresh token that came with it before the token is used. The token's life
    /// counts from `now`, before it was asked for.
    async fn fetch(&self, now: Duration) -> Result<Issued, Fault> {
        let _turn = self.grant.turn().await?;
        if let Some(Keeping::SetAnew) = self.grant.catch_up().await? {
            self.issued.store(None);
        }
        for _ in 0..=LOST_RACES_MAX {
            let token = match self.grant.unsaved() {
                Some(token) => token,
                None => self.ask().await?,
            };
            match self.grant.keep(token).await? {
                Keeping::Kept(token) => {
                    return self.issue(&token, now).map_err(|why| self.grant.failed(&why));
                }
                Keeping::SavedByAnother => {}
                // An operator set another value: what was fetched with the old one must not be used.
                Keeping::SetAnew => self.issued.store(None),
            }
        }
        Err(self.grant.failed("its value keeps changing"))
    }

    /// Asks; where the answer to a refresh token was lost, once more and at once. Servers that give out a new one with
    /// each answer take the old one for a moment longer, if they do at all (RFC 9700 §4.14.2 leaves it to them).
    async fn ask(&self) -> Result<Token, Fault> {
        let mut asked = self.endpoint.ask(&self.client, &self.grant).await;
        if let Err(Failed::Unanswered(why)) = &asked
            && self.grant.is_unanswered()
        {
            tracing::warn!("{}; trying again at once", self.grant.failed(why).cause());
            asked = self.endpoint.ask(&self.client, &self.grant).await;
        }
        match asked {
            Ok(token) => Ok(token),
            Err(Failed::Ended(why)) => Err(self.grant.ended(&why).await),
            Err(Failed::Unanswered(why) | Failed::Otherwise(why)) => Err(self.grant.failed(&why)),
        }
    }

    fn issue(&self, token: &Token, now: Duration) -> Result<Issued, String> {
        let spent = Arc::new(AtomicBool::new(false));
        let mut injection = self.base.clone();
        injection.set_header(header::AUTHORIZATION, &[b"Bearer ", token.access_token.reveal()])?;
        injection.secrets.push(Arc::clone(&token.access_token));
        injection.secrets.extend(self.grant.secrets());
        injection.cover()?;
        injection.spent = Some(Arc::clone(&spent));
        Ok(Issued {
            injection: Arc::new(injection),
            at: now,
            refresh_at: now + token.life * 4 / 5,
            // It must still be good when it arrives.
            expires_at: now + token.life - (token.life / 10).min(Duration::from_secs(10)),
            spent,
        })
    }

    /// Puts a token into use, or makes the next fetch wait.
    fn land(&self, fetched: Result<Issued, Fault>) -> Result<Arc<Injection>, Fault> {
        let mut flight = self.lock();
        match fetched {
            Ok(issued) => {
                let injection = Arc::clone(&issued.injection);
                self.issued.store(Some(Arc::new(issued)));
                *flight = Flight::default();
                Ok(injection)
            }
            Err(fault) => {
                let pause = PAUSE_MIN.saturating_mul(1 << flight.failures.min(6)).min(PAUSE_MAX);
                let failures = flight.failures.saturating_add(1);
                tracing::warn!("{}; next try in {} s", fault.cause(), pause.as_secs());
                *flight = Flight {
                    under_way: None,
                    failures,
                    not_before: self.grant.now() + pause,
                    fault: Some(fault.clone()),
                };
                Err(fault)
            }
        }
    }
}

impl Issued {
    fn is_good(&self, now: Duration) -> bool {
        let refused = self.spent.load(Ordering::Relaxed) && now >= self.at + REFUSED_MIN_AGE;
        now < self.expires_at && !refused
    }
}
