//! Limits counted at one Redis or Valkey server, for all gateways of an install together. One script takes all charges of
//! a call, by the server's clock; what happens while the server is away is the operator's choice.

mod link;

use std::{
    fmt::Write as _,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use domain::{
    audit::push_hex,
    quota::{Bucket, Charge, Charges, Owner},
};
use redis::{Client, Script, aio::MultiplexedConnection};
use smallvec::SmallVec;
use tokio::sync::{Notify, watch};

use crate::{Lost, Memory, Taken};
pub use link::{BadServer, Reach, Trouble, privacy};

/// What happens to calls while the server is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnLoss {
    /// They are refused.
    Deny,
    /// Each gateway counts on its own, with its share of each limit: floor(N / nodes). A limit that has no share for
    /// everybody refuses.
    Share {
        /// How many gateways there are at most.
        nodes: u32,
    },
}

/// Which server counts, and how.
#[derive(Clone)]
pub struct SharedOptions {
    /// `redis://` or, with TLS, `rediss://`; user, password and database as Redis URLs have them. Secret.
    pub url: String,
    /// The authorities (PEM) whose certificates the server may have; `None`: those that this machine trusts.
    pub authority: Option<String>,
    /// What tells this install's buckets from others at the same server.
    pub install: [u8; 16],
    /// Whether the install is known to have counted at a server before: one that remembers nothing has lost it then, even
    /// for a process that has just begun.
    pub counted: bool,
    /// What happens while it is away.
    pub on_loss: OnLoss,
    /// How many buckets this process may remember while it counts on its own.
    pub capacity: usize,
    /// How long the server may take to answer one call before it counts as lost.
    pub answer_within: Duration,
}

/// The server, and the way to it. Have [`run`](Shared::run) look after the way.
pub struct Shared {
    client: Client,
    take: Script,
    adopt: Script,
    /// In braces, so that a cluster would keep all keys of an install together.
    prefix: String,
    counted: bool,
    on_loss: OnLoss,
    answer_within: Duration,
    own: Memory,
    link: ArcSwapOption<MultiplexedConnection>,
    /// The server that was last counted with.
    run_id: Mutex<String>,
    lost: Notify,
    marked: watch::Sender<bool>,
    told: AtomicBool,
}

impl Shared {
    /// Nothing is connected yet.
    ///
    /// # Errors
    /// What is wrong with the URL or the authorities.
    pub fn new(options: &SharedOptions) -> Result<Arc<Self>, BadServer> {
        let mut prefix = "{toolgate:".to_owned();
        push_hex(&mut prefix, &options.install);
        prefix.push('}');
        Ok(Arc::new(Self {
            client: link::client(&options.url, options.authority.as_deref())?,
            take: Script::new(include_str!("shared/take.lua")),
            adopt: Script::new(include_str!("shared/adopt.lua")),
            prefix,
            counted: options.counted,
            on_loss: options.on_loss,
            answer_within: options.answer_within,
            own: Memory::new(options.capacity),
            link: ArcSwapOption::empty(),
            run_id: Mutex::default(),
            lost: Notify::new(),
            marked: watch::Sender::new(false),
            told: AtomicBool::new(false),
        }))
    }

    /// Whether the server answers now, as far as the last call knows.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.link.load().is_some()
    }

    /// Whether a call could pass now.
    #[must_use]
    pub fn admits(&self) -> bool {
        self.is_up() || self.on_loss != OnLoss::Deny
    }

    /// Resolves when this process has counted here, or could have: from then on a server that remembers nothing has lost
    /// it. To be remembered beyond the process ([`SharedOptions::counted`]).
    pub async fn marked(&self) {
        // The sender is ours, so it is not gone.
        let _ = self.marked.subscribe().wait_for(|is| *is).await;
    }

    /// See [`Counters::take`](crate::Counters::take).
    pub(crate) async fn take(&self, now: Duration, charges: &Charges) -> Result<Taken, Lost> {
        let Some(link) = self.link.load_full() else { return self.alone(now, charges) };
        match tokio::time::timeout(self.answer_within, self.ask(&link, charges)).await {
            Ok(Ok(taken)) => return Ok(taken),
            Ok(Err(error)) => self.lose(&link, &link::Trouble::of(&error).to_string()),
            Err(_) => self.lose(&link, "it does not answer in time"),
        }
        self.alone(now, charges)
    }

    async fn ask(&self, link: &MultiplexedConnection, charges: &Charges) -> redis::RedisResult<Taken> {
        let mut link = link.clone();
        let mut asked = self.take.prepare_invoke();
        asked.key(format!("{}:server", self.prefix));
        for charge in &charges.list {
            asked.key(self.bucket(charges.owner, charge));
            let period = u64::try_from(charge.quota.period().as_micros()).unwrap_or(u64::MAX);
            asked.arg(charge.quota.count()).arg(period);
        }
        let mut said: (i64, u64) = asked.invoke_async(&mut link).await?;
        if said.0 < 0 {
            // The server has forgotten everything since the last call.
            self.mark(&mut link).await?;
            said = asked.invoke_async(&mut link).await?;
        }
        match usize::try_from(said.0) {
            Ok(0) => Ok(Taken::Admitted),
            Ok(one) => Ok(Taken::Over { which: one - 1, retry_after: Duration::from_micros(said.1) }),
            Err(_) => Err((redis::ErrorKind::Client, "it forgets what it was told").into()),
        }
    }

    fn bucket(&self, owner: Owner, charge: &Charge) -> String {
        let mut key = format!("{}:", self.prefix);
        // Writing to a text cannot fail.
        let _ = match owner {
            Owner::Key(id) => write!(key, "{id}:"),
            Owner::Source(address) => write!(key, "{address}:"),
        };
        let _ = match charge.bucket {
            Bucket::Tool(hash) => write!(key, "tool-{hash:016x}"),
            Bucket::Override(place) => write!(key, "override-{place}"),
            _ => write!(key, "{}", charge.name()),
        };
        let _ = write!(key, ":{}", charge.quota);
        key
    }

    /// Without the server.
    fn alone(&self, now: Duration, charges: &Charges) -> Result<Taken, Lost> {
        let OnLoss::Share { nodes } = self.on_loss else { return Err(Lost) };
        let share = |charge: &Charge| Some(Charge { quota: charge.quota.share(nodes)?, ..*charge });
        let list: Option<SmallVec<_>> = charges.list.iter().map(share).collect();
        Ok(self.own.take(now, &Charges { owner: charges.owner, list: list.ok_or(Lost)? }))
    }

    /// Gives a connection up, unless somebody else has done so already.
    fn lose(&self, link: &Arc<MultiplexedConnection>, why: &str) {
        let before = self.link.compare_and_swap(link, None);
        if before.as_ref().is_some_and(|before| Arc::ptr_eq(before, link)) {
            self.tell_lost(why);
            self.lost.notify_one();
        }
    }

    /// Says once what happens until the server is back.
    fn tell_lost(&self, why: &str) {
        if !self.told.swap(true, Ordering::Relaxed) {
            let meanwhile = match self.on_loss {
                OnLoss::Deny => "calls are refused until it is back".to_owned(),
                OnLoss::Share { nodes } => {
                    format!("until it is back this gateway counts 1/{nodes} of each limit")
                }
            };
            tracing::error!("limits cannot be counted (counters.url): {why}; {meanwhile}");
        }
    }

    fn tell_back(&self) {
        if self.told.swap(false, Ordering::Relaxed) {
            tracing::warn!("limits are counted again (counters.url)");
        }
    }

    fn known(&self) -> String {
        self.run_id.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn know(&self, run_id: String) {
        *self.run_id.lock().unwrap_or_else(PoisonError::into_inner) = run_id;
    }
}
