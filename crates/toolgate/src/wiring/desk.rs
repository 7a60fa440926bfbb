//! The console's desk: what it needs of the gateway, and who is told what the trail's writer has written.

use std::sync::Arc;

use admin::{Admin, SessionKeys};
use anyhow::{Context as _, anyhow};
use console::{
    Desk, LastSeen, Logins, Manner, MonitorToken, News, Overviews, PolicyStanding, Searches, Tally, Welcome,
};
use domain::risk::KnownRisk;
use pipeline::{Gateway, recorder::Told};
use tokio::sync::{Semaphore, watch};
use vault::{AccessKeys, Vault};

use super::CallLog;
use crate::{output::Invocation, settings::Settings, unlock::variable};

/// What the console is opened with, looked at before anything starts.
pub struct Setup {
    pub tally: Arc<Tally>,
    monitor: Option<MonitorToken>,
}

impl Setup {
    /// # Errors
    /// One sentence when the variable of `console.metrics_token_env` is not set.
    pub fn of(settings: &Settings) -> anyhow::Result<Self> {
        let monitor = match &settings.console.metrics_token_env {
            None => None,
            Some(name) => {
                let unset = || {
                    anyhow!("${name} is not set (console.metrics_token_env); set it to the monitor's token")
                };
                Some(MonitorToken::new(&variable(name).ok_or_else(unset)?))
            }
        };
        Ok(Self { tally: Arc::default(), monitor })
    }

    /// Who is told what was written: the log of calls, and the figures for monitors.
    pub fn told(&self, call_log: Option<CallLog>) -> Told {
        let tally = Arc::clone(&self.tally);
        let mut log = call_log.map(CallLog::into_listener);
        Box::new(move |events| {
            let mut counted = events.inspect(|event| tally.count(event));
            match &mut log {
                Some(log) => log(&mut counted),
                None => counted.for_each(drop),
            }
        })
    }

    /// The desk over a gateway that is built.
    ///
    /// # Errors
    /// One sentence when the machine gives no thread.
    pub fn desk(
        self,
        settings: &Settings,
        (invocation, manner): (&Invocation, Manner),
        gateway: &Gateway,
        vault: &Arc<Vault>,
        access: AccessKeys,
        policy: watch::Receiver<PolicyStanding>,
    ) -> anyhow::Result<Arc<Desk>> {
        let trail = Admin::new(Arc::new(gateway.store.for_people()));
        let searches = Searches::start(trail, Arc::clone(&gateway.clock), Arc::clone(&gateway.timings))
            .context("the machine gives no thread for searches; check its limits (ulimit -u)")?;
        let sessions =
            SessionKeys { pepper: gateway.pepper.clone(), access, terms: settings.console.session };
        Ok(Arc::new(Desk {
            searches,
            overviews: Overviews::default(),
            admin: Admin::new(Arc::new(gateway.store.for_people())),
            clock: Arc::clone(&gateway.clock),
            freshness: Arc::clone(&gateway.freshness),
            recorder: Arc::clone(&gateway.recorder),
            counters: Arc::clone(&gateway.counters),
            approvals: Arc::clone(&gateway.approvals),
            sessions,
            logins: Logins::default(),
            risk: KnownRisk {
                thresholds: settings.risk.thresholds,
                has_model: settings.risk.model.is_some(),
            },
            vault: Arc::clone(vault),
            policy,
            welcome: Welcome::default(),
            news: News::default(),
            tally: self.tally,
            timings: Arc::clone(&gateway.timings),
            monitor: self.monitor,
            seen: LastSeen::default(),
            verifying: Semaphore::new(1),
            command: Box::new({
                let invocation = invocation.clone();
                move |arguments| invocation.command(arguments)
            }),
            manner,
            stopping: gateway.stopping.clone(),
        }))
    }
}
