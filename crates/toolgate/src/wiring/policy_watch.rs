//! Reads the policy, and reads it again when the file changes or SIGHUP comes. A policy that cannot be read is
//! told and left out: the last good one stays in force.

use std::{
    fs::Metadata,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use console::PolicyStanding;
use domain::{
    clock::Clock,
    policy::{self, Policy},
    yaml::Problem,
};
use pipeline::freshness::Freshness;
use tokio::{signal::unix::Signal, sync::watch};

use crate::{commands::read_trusted, output::Invocation, settings::Faults};

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What became of a file that was looked at again, in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicyNews {
    /// It is in force.
    Reloaded(String),
    /// It is not; the last good one stays.
    NotReloaded(String),
}

/// Who is told about reloads.
pub type TellPolicy = Box<dyn Fn(PolicyNews) + Send + Sync>;

/// Reads the policy file, with its warnings.
///
/// # Errors
/// One sentence when there is no readable file, else the faults in it with their lines.
pub fn read_policy(path: &Path, invocation: &Invocation) -> anyhow::Result<(Policy, Vec<Problem>)> {
    let shown = invocation.path(path);
    let Some(text) = read_trusted(path)? else {
        let init = invocation.command("init");
        anyhow::bail!("there is no policy ({shown}); `{init}` writes a starter");
    };
    policy::parse(&shown, &text).map_err(|problems| Faults::File(problems).into())
}

/// Watches for ever; `hang_up` is SIGHUP, listened for since before anybody could send it. Run it as a task of its own.
pub(super) async fn run(
    path: PathBuf,
    mut hang_up: Signal,
    invocation: Invocation,
    freshness: Arc<Freshness>,
    clock: Arc<dyn Clock>,
    standing: watch::Sender<PolicyStanding>,
    tell: TellPolicy,
) {
    // Nothing is seen yet: the first look reads the file again, which may have changed since the start read it.
    let mut seen = None;
    let mut tick = tokio::time::interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let asked = tokio::select! {
            _ = tick.tick() => false,
            _ = hang_up.recv() => true,
        };
        let stamp = Stamp::of(&path);
        if !asked && seen.as_ref() == Some(&stamp) {
            continue;
        }
        seen = Some(stamp);
        let old = freshness.current().policy.hash().clone();
        match read_policy(&path, &invocation) {
            Ok((policy, _)) if !asked && *policy.hash() == old => {
                standing.send_modify(|standing| standing.refused = None);
            }
            Ok((policy, warnings)) => {
                let new = policy.hash().clone();
                freshness.set_policy(Arc::new(policy));
                standing.send_replace(PolicyStanding { loaded_at: clock.now().wall, refused: None });
                let line = format!("policy reloaded {} → {}{}", old.short(), new.short(), count(&warnings));
                tell(PolicyNews::Reloaded(line));
            }
            Err(error) => {
                let refused = Some((clock.now().wall, error.to_string()));
                standing.send_modify(|standing| standing.refused = refused);
                let why = match error.downcast_ref::<Faults>() {
                    Some(Faults::File(problems)) => problems
                        .first()
                        .map(|problem| problem.to_string().lines().next().unwrap_or_default().to_owned()),
                    _ => None,
                };
                tell(PolicyNews::NotReloaded(format!(
                    "policy NOT reloaded, {} stays: {}",
                    old.short(),
                    why.unwrap_or_else(|| error.to_string())
                )));
            }
        }
    }
}

fn count(warnings: &[Problem]) -> String {
    match warnings.len() {
        0 => String::new(),
        1 => " · 1 warning: toolgate policy check".into(),
        more => format!(" · {more} warnings: toolgate policy check"),
    }
}

/// What a file looked like: another one after every way of replacing or editing it.
#[derive(Debug, PartialEq, Eq)]
struct Stamp(Option<(u64, u64, i64, i64)>);

impl Stamp {
    fn of(path: &Path) -> Self {
        let of = |file: Metadata| (file.ino(), file.size(), file.mtime(), file.mtime_nsec());
        Self(std::fs::metadata(path).ok().map(of))
    }
}
