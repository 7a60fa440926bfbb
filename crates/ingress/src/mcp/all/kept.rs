//! What is remembered about members between requests: which protocol they speak, and the sessions opened with them for
//! our clients. All of it may be lost; it is then found out, and opened, again.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use domain::{
    key::KeyId,
    names::{AgentName, ServiceName},
    service::Service,
};
use http::HeaderValue;
use tokio::sync::{OnceCell, oneshot};
use wire::mcp::Era;

/// How many sessions are kept with members, for all clients together; beyond that the one that was longest not used is
/// forgotten.
const SEATS_MAX: usize = 1_024;
/// How many sessions a key has with one member while it uses none of them.
const SPARE_MAX: usize = 4;
/// How many ended sessions of clients are remembered as ended.
const ENDED_MAX: usize = 4_096;
/// A session that was not used for so long is ended.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(600);

/// What is known of services for the endpoint of all of them. Cheap to clone.
#[derive(Clone, Default)]
pub struct Members {
    kept: Arc<Mutex<Kept>>,
    next: Arc<AtomicU64>,
}

#[derive(Default)]
struct Kept {
    eras: HashMap<ServiceName, (Arc<Service>, Eras)>,
    /// Of clients with a session here: its number and the member.
    seats: HashMap<(u64, ServiceName), Arc<Seat>>,
    /// Of clients without one: sessions that no request uses now.
    spare: HashMap<(Holder, ServiceName), Vec<(Line, Duration)>>,
    ended: VecDeque<u64>,
    /// Requests of clients with a session that are under way, by the id as it was written.
    under_way: HashMap<(u64, String), UnderWay>,
}

/// Whose sessions may be used again by whom: an agent's, by the key that it came with.
pub(super) type Holder = (AgentName, Option<KeyId>);

/// Which eras a member speaks, as far as it was asked.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Eras {
    pub(super) modern: Option<bool>,
    pub(super) legacy: Option<bool>,
}

/// How a member is spoken to.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) era: Era,
    /// The version as the member has named it; none before it has.
    pub(super) version: Option<HeaderValue>,
    /// The session token, where it has given one.
    pub(super) session: Option<String>,
}

/// One client's place at one member.
#[derive(Default)]
pub(super) struct Seat {
    /// Opened by the first request that needs it.
    pub(super) line: OnceCell<Line>,
    /// When it was used last (milliseconds, monotonic).
    used: AtomicU64,
}

impl Seat {
    /// Notes that it is used, and says how long it was not.
    fn touch(&self, now: Duration) -> Duration {
        let millis = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let before = self.used.swap(millis, Ordering::Relaxed);
        now.saturating_sub(Duration::from_millis(before))
    }

    fn used(&self) -> Duration {
        Duration::from_millis(self.used.load(Ordering::Relaxed))
    }
}

/// A request that a member is answering.
struct UnderWay {
    number: u64,
    service: ServiceName,
    line: Line,
    /// In the newest protocol a request is cancelled by hanging up.
    hang_up: Option<oneshot::Sender<()>>,
}

/// A request is under way until this is dropped.
pub(super) struct Noted {
    members: Members,
    key: (u64, String),
    number: u64,
}

impl Drop for Noted {
    fn drop(&mut self) {
        let mut kept = self.members.lock();
        // A client that uses an id twice has taken this one's place.
        if kept.under_way.get(&self.key).is_some_and(|known| known.number == self.number) {
            kept.under_way.remove(&self.key);
        }
    }
}

impl Members {
    /// A number that no other one is.
    pub(super) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The eras that a service speaks. Another definition of it is another server.
    pub(super) fn eras(&self, service: &Arc<Service>) -> Eras {
        let kept = self.lock();
        let known = kept.eras.get(&service.name).filter(|(of, _)| Arc::ptr_eq(of, service) || of == service);
        known.map(|(_, eras)| *eras).unwrap_or_default()
    }

    /// Learns of the eras that a service speaks.
    pub(super) fn learn(&self, service: &Arc<Service>, change: impl FnOnce(&mut Eras)) -> Eras {
        let mut eras = self.eras(service);
        change(&mut eras);
        // One that speaks neither was asked at a bad time.
        let is_mute = (eras.modern, eras.legacy) == (Some(false), Some(false));
        let kept = if is_mute { Eras::default() } else { eras };
        self.lock().eras.insert(service.name.clone(), (Arc::clone(service), kept));
        eras
    }

    /// The place of the client with session `number` at a member, and how long it was not used. What has to go for it
    /// is forgotten only: its session is another agent's, which alone may end it.
    pub(super) fn seat(&self, number: u64, service: &ServiceName, now: Duration) -> (Arc<Seat>, Duration) {
        let mut kept = self.lock();
        let key = (number, service.clone());
        if let Some(seat) = kept.seats.get(&key) {
            return (Arc::clone(seat), seat.touch(now));
        }
        kept.seats.retain(|_, seat| now.saturating_sub(seat.used()) <= IDLE_MAX);
        if kept.seats.len() >= SEATS_MAX {
            let oldest = kept.seats.iter().min_by_key(|(_, seat)| seat.used()).map(|(key, _)| key.clone());
            oldest.and_then(|oldest| kept.seats.remove(&oldest));
        }
        let seat = Arc::<Seat>::default();
        seat.touch(now);
        kept.seats.insert(key, Arc::clone(&seat));
        (seat, Duration::ZERO)
    }

    /// Forgets a place, unless another one has been taken meanwhile.
    pub(super) fn forget(&self, number: u64, service: &ServiceName, seat: &Arc<Seat>) {
        let mut kept = self.lock();
        let key = (number, service.clone());
        if kept.seats.get(&key).is_some_and(|known| Arc::ptr_eq(known, seat)) {
            kept.seats.remove(&key);
        }
    }

    /// A session of this holder that no request uses, with how long it was not used; and those that were not used for too
    /// long.
    pub(super) fn take_spare(
        &self,
        holder: &Holder,
        service: &ServiceName,
        now: Duration,
    ) -> (Option<(Line, Duration)>, Vec<Line>) {
        let mut kept = self.lock();
        let key = (holder.clone(), service.clone());
        let Some(spare) = kept.spare.get_mut(&key) else { return (None, Vec::new()) };
        let idle = |since: &Duration| now.saturating_sub(*since);
        let old = spare.extract_if(.., |(_, since)| idle(since) > IDLE_MAX).map(|(line, _)| line).collect();
        let found = spare.pop().map(|(line, since)| (line, now.saturating_sub(since)));
        if spare.is_empty() {
            kept.spare.remove(&key);
        }
        (found, old)
    }

    /// Keeps a session for a later request; gives it back when there are enough.
    pub(super) fn put_spare(
        &self,
        holder: &Holder,
        service: &ServiceName,
        line: Line,
        now: Duration,
    ) -> Option<Line> {
        let mut kept = self.lock();
        let key = (holder.clone(), service.clone());
        if kept.spare.len() >= SEATS_MAX && !kept.spare.contains_key(&key) {
            // Those whose agents have not come back for long.
            let is_old = |(_, since): &(Line, Duration)| now.saturating_sub(*since) > IDLE_MAX;
            kept.spare.retain(|_, spare| !spare.iter().all(is_old));
            if kept.spare.len() >= SEATS_MAX {
                return Some(line);
            }
        }
        let spare = kept.spare.entry(key).or_default();
        if spare.len() >= SPARE_MAX {
            return Some(line);
        }
        spare.push((line, now));
        None
    }

    /// Ends a client's session; what was opened for it is to be ended too.
    pub(super) fn end(&self, number: u64) -> Vec<(ServiceName, Line)> {
        let mut kept = self.lock();
        if kept.ended.len() >= ENDED_MAX {
            kept.ended.pop_front();
        }
        kept.ended.push_back(number);
        let seats = kept.seats.extract_if(|(of, _), _| *of == number);
        seats.filter_map(|((_, service), seat)| Some((service, seat.line.get()?.clone()))).collect()
    }

    /// Whether a client's session was ended, as far as that is remembered.
    pub(super) fn is_ended(&self, number: u64) -> bool {
        self.lock().ended.contains(&number)
    }

    /// Notes a request, so that it can be cancelled by its id until what is returned is dropped.
    pub(super) fn note(
        &self,
        session: u64,
        id: &str,
        service: &ServiceName,
        line: &Line,
        hang_up: Option<oneshot::Sender<()>>,
    ) -> Noted {
        let (key, number) = ((session, id.to_owned()), self.number());
        let under_way = UnderWay { number, service: service.clone(), line: line.clone(), hang_up };
        self.lock().under_way.insert(key.clone(), under_way);
        Noted { members: self.clone(), key, number }
    }

    /// Which member answers a request, and how it is spoken to.
    pub(super) fn under_way(&self, session: u64, id: &str) -> Option<(ServiceName, Line)> {
        let kept = self.lock();
        let found = kept.under_way.get(&(session, id.to_owned()))?;
        Some((found.service.clone(), found.line.clone()))
    }

    /// Hangs up on the member that answers a request, where that is how requests are cancelled.
    pub(super) fn hang_up(&self, session: u64, id: &str) {
        let mut kept = self.lock();
        let found = kept.under_way.get_mut(&(session, id.to_owned()));
        if let Some(hang_up) = found.and_then(|found| found.hang_up.take()) {
            // It may have ended by itself.
            let _ = hang_up.send(());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn line(session: &str) -> Line {
        Line { era: Era::Legacy, version: None, session: Some(session.to_owned()) }
    }

    fn files() -> ServiceName {
        ServiceName::parse("files").unwrap()
    }

    #[test]
    fn a_request_is_cancelled_by_the_session_that_made_it_and_only_while_it_lives() {
        let members = Members::default();
        let (hang_up, mut hung_up) = oneshot::channel();
        let noted = members.note(1, "7", &files(), &line("a"), Some(hang_up));
        for (session, id) in [(2, "7"), (1, "\"7\"")] {
            assert!(members.under_way(session, id).is_none());
            members.hang_up(session, id);
        }
        assert!(hung_up.try_recv().is_err());
        assert_eq!(members.under_way(1, "7").unwrap().1.session.unwrap(), "a");
        members.hang_up(1, "7");
        assert_eq!(hung_up.try_recv(), Ok(()));
        let second = members.note(1, "7", &files(), &line("b"), None);
        drop(noted);
        assert_eq!(members.under_way(1, "7").unwrap().1.session.unwrap(), "b");
        drop(second);
        assert!(members.under_way(1, "7").is_none());
    }

    #[test]
    fn a_spare_session_is_used_by_one_request_at_a_time_and_not_for_ever() {
        let members = Members::default();
        let keys = ["abcdefgh", "bcdefghj"].map(|id| KeyId::parse(id).unwrap());
        let [ada, bob] = keys.map(|key| (AgentName::parse("laptop").unwrap(), Some(key)));
        let (ada, bob) = (&ada, &bob);
        let at = Duration::from_secs;
        assert!(members.put_spare(ada, &files(), line("a"), at(1)).is_none());
        assert!(members.take_spare(bob, &files(), at(1)).0.is_none(), "another key has none of it");
        let (found, idle) = members.take_spare(ada, &files(), at(3)).0.unwrap();
        assert_eq!((found.session.unwrap().as_str(), idle), ("a", at(2)));
        assert!(members.take_spare(ada, &files(), at(3)).0.is_none());
        for index in 0..=SPARE_MAX {
            let enough = members.put_spare(ada, &files(), line("b"), at(4)).is_some();
            assert_eq!(enough, index == SPARE_MAX);
        }
        let (found, old) = members.take_spare(ada, &files(), at(5) + IDLE_MAX);
        assert_eq!((found.is_some(), old.len()), (false, SPARE_MAX));
    }

    #[test]
    fn places_are_bounded_and_the_oldest_goes() {
        let members = Members::default();
        let at = |number: u64| Duration::from_millis(number + 1);
        let take = |number: u64, at: Duration| {
            let (seat, _) = members.seat(number, &files(), at);
            seat.line.get_or_init(|| async { line(&number.to_string()) }).now_or_never().unwrap();
        };
        let seats_max = SEATS_MAX as u64;
        for number in 0..seats_max {
            take(number, at(number));
        }
        let (_, idle) = members.seat(0, &files(), at(seats_max));
        assert_eq!(idle, at(seats_max) - at(0));
        take(seats_max, at(seats_max));
        assert_eq!(members.end(1).len(), 0, "the one that was longest not used has gone");
        assert_eq!(members.end(2).len(), 1);
        assert_eq!(members.end(0).len(), 1);
        assert!(members.is_ended(2) && !members.is_ended(3));
        take(u64::MAX, at(seats_max) + IDLE_MAX + Duration::from_millis(1));
        assert_eq!(members.end(3).len(), 0, "and those that nobody has used for long");
    }
}
