//! Questions that read much of the trail. They take turns on a thread of their own that steps behind those of calls; while
//! calls come, whoever has asked rests before the next: however many people search, calls hardly notice.

use std::{io, sync::Arc, time::Duration};

use admin::{Admin, AdminError};
use domain::clock::Clock;
use pipeline::timings::Timings;
use tokio::{
    runtime,
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};

use crate::problem::Problem;

/// A busy gateway rests so many times as long as a question took: people get a twentieth of one core.
const REST: u32 = 19;
/// It rests no longer than this, whatever it was asked.
const REST_MAX: Duration = Duration::from_secs(5);
/// A gateway with more than one call in this time is busy, and with so many since the question was asked.
const BUSY_EVERY: Duration = Duration::from_millis(5);
const BUSY_CALLS: u64 = 5;
/// How long a question waits for its turn.
const TURN_MAX: Duration = Duration::from_secs(20);

/// What is asked with, and where.
pub struct Searches {
    admin: Admin,
    clock: Arc<dyn Clock>,
    timings: Arc<Timings>,
    turns: Arc<Semaphore>,
    /// `None` only while it is dropped.
    thread: Option<runtime::Runtime>,
}

impl Searches {
    /// Starts the thread. `admin` stands over a store of its own ([`store::Store::for_people`]); `timings` tell how many
    /// calls come.
    ///
    /// # Errors
    /// Where the machine gives no thread.
    pub fn start(admin: Admin, clock: Arc<dyn Clock>, timings: Arc<Timings>) -> io::Result<Self> {
        let thread = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("searches")
            .on_thread_start(store::step_back)
            .enable_all()
            .build()?;
        Ok(Self { admin, clock, timings, turns: Arc::new(Semaphore::new(1)), thread: Some(thread) })
    }

    /// Asks when it is this question's turn, and waits for the answer; whoever does not wait any more ends the search. A
    /// question must only read: while it changed something, calls would wait for a thread that steps back.
    ///
    /// # Errors
    /// 503 when others search for too long, or the gateway stops; else the question's own.
    pub(crate) async fn ask<T, F>(&self, question: impl FnOnce(Admin) -> F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, AdminError>> + Send + 'static,
    {
        let turn = tokio::time::timeout(TURN_MAX, Arc::clone(&self.turns).acquire_owned()).await;
        let Ok(Ok(permit)) = turn else {
            return Err(Problem::unavailable("others search the trail; repeat in a moment"));
        };
        let _turn = Turn {
            searches: self,
            permit: Some(permit),
            began: self.clock.now().monotonic,
            calls: self.timings.gates.counted().count,
        };
        self.ask_aside(question).await
    }

    /// The same without a turn, for what takes its time and is asked one at a time.
    ///
    /// # Errors
    /// 503 when the gateway stops; else the question's own.
    pub(crate) async fn ask_aside<T, F>(&self, question: impl FnOnce(Admin) -> F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, AdminError>> + Send + 'static,
    {
        let over = || Problem::unavailable("the gateway is stopping; repeat in a moment");
        let thread = self.thread.as_ref().ok_or_else(over)?;
        // Dropped, it takes its task along.
        let mut asked = JoinSet::new();
        asked.spawn_on(question(self.admin.clone()), thread.handle());
        match asked.join_next().await {
            Some(Ok(answer)) => Ok(answer?),
            _ => Err(over()),
        }
    }
}

impl Drop for Searches {
    fn drop(&mut self) {
        // Waiting for a thread is not for a task to do.
        if let Some(thread) = self.thread.take() {
            thread.shutdown_background();
        }
    }
}

/// One question's turn. The rest is taken however it ends: who asks and goes away has asked all the same.
struct Turn<'s> {
    searches: &'s Searches,
    permit: Option<OwnedSemaphorePermit>,
    began: Duration,
    calls: u64,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let Searches { clock, timings, thread, .. } = self.searches;
        let took = clock.now().monotonic.saturating_sub(self.began);
        let rest = rest_after(took, timings.gates.counted().count.saturating_sub(self.calls));
        let (Some(thread), Some(permit)) = (thread, self.permit.take().filter(|_| !rest.is_zero())) else {
            return;
        };
        thread.spawn(async move {
            tokio::time::sleep(rest).await;
            drop(permit);
        });
    }
}

/// How long nobody searches after a question that took so long, while so many calls came.
fn rest_after(took: Duration, calls: u64) -> Duration {
    let busy = calls >= BUSY_CALLS && took / u32::try_from(calls).unwrap_or(u32::MAX) < BUSY_EVERY;
    if busy { took.saturating_mul(REST).min(REST_MAX) } else { Duration::ZERO }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_rest_only_while_calls_come() {
        let ms = Duration::from_millis;
        assert_eq!(rest_after(ms(40), 400), ms(760));
        assert_eq!(rest_after(ms(900), 9_000), REST_MAX);
        for calm in [rest_after(ms(40), 0), rest_after(ms(1), 4), rest_after(ms(100), 20)] {
            assert_eq!(calm, Duration::ZERO);
        }
        assert_eq!(rest_after(Duration::ZERO, 0), Duration::ZERO);
    }
}
