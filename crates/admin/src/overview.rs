//! The overview: what came through lately, by decision, agent, service and rule. The trail is counted once, in the
//! order it was written; figures are read from what was counted, so that a long trail costs no more than a short one.

use std::{collections::BTreeMap, time::Duration};

use domain::audit::Kind;
use jiff::{SignedDuration, Timestamp};
use store::{EventRow, Tally};

use crate::{Admin, AdminError, CallEnd, Record};

/// How many events are counted in one transaction.
const BATCH: i64 = 1_000;
/// How far back is counted where nothing was counted yet.
const COUNTED: SignedDuration = SignedDuration::from_hours(8 * 24);
/// How many agents, services and rules are shown.
const TOP: u32 = 5;

/// How far back the overview looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// Sixty bars of a minute.
    Hour,
    /// Ninety-six bars of a quarter of an hour.
    Day,
    /// Eighty-four bars of two hours.
    Week,
}

impl Range {
    /// All, with the word of the page.
    pub const WORDS: [(&'static str, Self); 3] =
        [("hour", Self::Hour), ("day", Self::Day), ("week", Self::Week)];

    /// How long a bar is (seconds).
    #[must_use]
    pub fn span(self) -> i64 {
        match self {
            Self::Hour => 60,
            Self::Day => 900,
            Self::Week => 7_200,
        }
    }

    /// How many bars there are.
    #[must_use]
    pub fn bars(self) -> usize {
        match self {
            Self::Hour => 60,
            Self::Day => 96,
            Self::Week => 84,
        }
    }

    /// How long figures of this span are kept (seconds).
    fn kept(self) -> i64 {
        match self {
            Self::Hour => 3 * 3_600,
            Self::Day => 2 * 86_400,
            Self::Week => 90 * 86_400,
        }
    }

    /// The first second of the first bar.
    #[must_use]
    pub fn start(self, now: Timestamp) -> i64 {
        let last = now.as_second().div_euclid(self.span());
        let bars = i64::try_from(self.bars()).unwrap_or(i64::MAX);
        (last - bars + 1) * self.span()
    }
}

/// What the bars are stacked of, from below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// The upstream answered, or its answer was given again.
    Forwarded,
    /// Sent after people approved it.
    Approved,
    /// Held for people.
    Held,
    /// Refused, or denied by people.
    Refused,
    /// Over a limit.
    Limited,
    /// The upstream or the gateway failed.
    Failed,
}

impl Layer {
    /// All, from below.
    pub const ALL: [Self; 6] =
        [Self::Forwarded, Self::Approved, Self::Held, Self::Refused, Self::Limited, Self::Failed];

    /// The layer of an end; what still goes on has none.
    #[must_use]
    pub fn of(end: CallEnd) -> Option<Self> {
        Some(match end {
            CallEnd::Forwarded | CallEnd::Replayed => Self::Forwarded,
            CallEnd::Approved => Self::Approved,
            CallEnd::Held => Self::Held,
            CallEnd::Refused => Self::Refused,
            CallEnd::Limited => Self::Limited,
            CallEnd::UpstreamError | CallEnd::Fault => Self::Failed,
            // A denied call was counted when it was held.
            CallEnd::Denied | CallEnd::UnderWay | CallEnd::Unknown | CallEnd::Changed | CallEnd::System => {
                return None;
            }
        })
    }

    fn place(self) -> usize {
        Self::ALL.iter().position(|layer| *layer == self).unwrap_or(0)
    }
}

/// One bar.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Bar {
    /// Its first second, since 1970 UTC.
    pub start: i64,
    /// Calls by layer, in the order of [`Layer::ALL`].
    pub calls: [u64; 6],
    /// How long half of the answers took at most, and 99 of 100 (ms); none where nothing was answered.
    pub times: Option<(f64, f64)>,
}

impl Bar {
    /// All calls.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.calls.iter().sum()
    }
}

/// What came through.
#[derive(Debug, Clone, PartialEq)]
pub struct Overview {
    /// How far back it looks.
    pub range: Range,
    /// The bars, the oldest first.
    pub bars: Vec<Bar>,
    /// Calls by layer, in the order of [`Layer::ALL`].
    pub calls: [u64; 6],
    /// How long half of the answers took at most, and 99 of 100 (ms), with the upstream.
    pub times: Option<(f64, f64)>,
    /// The agents that called most, with how often.
    pub agents: Vec<(String, u64)>,
    /// The services that were called most.
    pub services: Vec<(String, u64)>,
    /// The rules, or reasons, that refused most.
    pub rules: Vec<(String, u64)>,
    /// Services whose calls failed, with how often.
    pub failing: Vec<(String, u64)>,
    /// Events that are not counted yet.
    pub behind: u64,
    /// Events of the trail.
    pub events: u64,
}

impl Overview {
    /// All calls.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.calls.iter().sum()
    }
}

impl Admin {
    /// The overview at `now`.
    ///
    /// # Errors
    /// [`AdminError::Store`].
    pub async fn overview(&self, now: Timestamp, range: Range) -> Result<Overview, AdminError> {
        // Whoever looks waits for what is new, and never for a backlog: that is counted beside. While many calls come
        // there always is one, and a look writes nothing then.
        if self.store.newest_seq().await?.saturating_sub(self.store.tallied().await?) <= BATCH {
            self.count_trail(now).await?;
        }
        let (span, since) = (range.span(), range.start(now));
        let mut bars: BTreeMap<i64, (Bar, BTreeMap<u32, u64>)> = BTreeMap::new();
        for place in 0..range.bars() {
            let start = since + i64::try_from(place).unwrap_or(0) * span;
            bars.insert(start, (Bar { start, ..Bar::default() }, BTreeMap::new()));
        }
        let mut calls = [0; 6];
        for (start, name, count) in self.store.tallies("result", span, since).await? {
            let Some(layer) = CallEnd::parse(&name).and_then(Layer::of) else { continue };
            let bar = bars.get_mut(&start).and_then(|(bar, _)| bar.calls.get_mut(layer.place()));
            for figure in bar.into_iter().chain(calls.get_mut(layer.place())) {
                *figure += count;
            }
        }
        let mut all: BTreeMap<u32, u64> = BTreeMap::new();
        for (start, name, count) in self.store.tallies("time", span, since).await? {
            let Ok(bucket) = name.parse::<u32>() else { continue };
            *all.entry(bucket).or_default() += count;
            if let Some((_, times)) = bars.get_mut(&start) {
                *times.entry(bucket).or_default() += count;
            }
        }
        let bars = bars.into_values().map(|(bar, times)| Bar { times: percentiles(&times), ..bar });
        let events = u64::try_from(self.store.newest_seq().await?).unwrap_or(0);
        let counted = u64::try_from(self.store.tallied().await?).unwrap_or(0);
        Ok(Overview {
            range,
            bars: bars.collect(),
            calls,
            times: percentiles(&all),
            agents: self.store.tally_sums("agent", span, since, TOP).await?,
            services: self.store.tally_sums("service", span, since, TOP).await?,
            rules: self.store.tally_sums("rule", span, since, TOP).await?,
            failing: self.store.tally_sums("service-failed", span, since, TOP).await?,
            behind: events.saturating_sub(counted),
            events,
        })
    }

    /// The services whose calls failed in the last hour, with how often.
    ///
    /// # Errors
    /// [`AdminError::Store`].
    pub async fn failing_services(&self, now: Timestamp) -> Result<BTreeMap<String, u64>, AdminError> {
        let (span, since) = (Range::Hour.span(), Range::Hour.start(now));
        let failing = self.store.tally_sums("service-failed", span, since, u32::MAX).await?;
        Ok(failing.into_iter().collect())
    }

    /// Calls and refused calls of each agent in the last seven days.
    ///
    /// # Errors
    /// [`AdminError::Store`].
    pub async fn calls_by_agent(&self, now: Timestamp) -> Result<BTreeMap<String, (u64, u64)>, AdminError> {
        let (span, since) = (Range::Week.span(), Range::Week.start(now));
        let mut by_agent: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for (agent, calls) in self.store.tally_sums("agent", span, since, u32::MAX).await? {
            by_agent.entry(agent).or_default().0 = calls;
        }
        for (agent, refused) in self.store.tally_sums("agent-refused", span, since, u32::MAX).await? {
            by_agent.entry(agent).or_default().1 = refused;
        }
        Ok(by_agent)
    }

    /// Counts what was appended to the trail since, one batch; whether there may be more. Several processes may do
    /// it at once: each event is counted by one of them.
    ///
    /// # Errors
    /// [`AdminError::Store`]; nothing is counted then.
    pub async fn count_trail(&self, now: Timestamp) -> Result<bool, AdminError> {
        let from = self.store.tallied().await?;
        let mut after = from;
        if from == 0 {
            let oldest = now.checked_sub(COUNTED).unwrap_or(Timestamp::MIN);
            after = self.store.seq_at(oldest).await?.saturating_sub(1);
        }
        let newest = self.store.newest_seq().await?;
        let last = newest.min(after.saturating_add(BATCH));
        if last <= after {
            return Ok(false);
        }
        let events = self.store.events_to_count(after, last).await?;
        let counted = self.store.add_tallies(from, last, &count(&events)).await?;
        Ok(!counted || last < newest)
    }

    /// Forgets figures that no page shows any more.
    ///
    /// # Errors
    /// [`AdminError::Store`].
    pub async fn forget_figures(&self, now: Timestamp) -> Result<(), AdminError> {
        for (_, range) in Range::WORDS {
            self.store.drop_tallies(range.span(), now.as_second() - range.kept()).await?;
        }
        Ok(())
    }
}

/// The figures of these events.
fn count(events: &[EventRow]) -> Vec<Tally> {
    let mut tallies: BTreeMap<(&'static str, i64, i64, String), i64> = BTreeMap::new();
    for event in events {
        let record = Record::of(event);
        if record.is_denial_at_console(event) || Kind::parse(&event.kind) == Some(Kind::Decision) {
            continue;
        }
        let end = record.end(event, event.at);
        let Some(layer) = Layer::of(end) else { continue };
        let number = i64::try_from(record.count.unwrap_or(1)).unwrap_or(i64::MAX);
        let mut names: Vec<(&'static str, String)> = vec![("result", end.as_str().to_owned())];
        let refused = matches!(layer, Layer::Refused | Layer::Limited);
        if let Some(agent) = &event.agent {
            // What was held is counted again when it is sent.
            names.extend((layer != Layer::Held).then(|| ("agent", agent.clone())));
            names.extend(refused.then(|| ("agent-refused", agent.clone())));
        }
        // A stranger may name any service: only those that were reached have figures.
        if let Some(service) = event.service.as_ref().filter(|_| !refused && layer != Layer::Held) {
            names.push(("service", service.clone()));
            names.extend((end == CallEnd::UpstreamError).then(|| ("service-failed", service.clone())));
        }
        if refused {
            names.extend(record.why().map(|why| ("rule", why.chars().take(120).collect())));
        }
        if matches!(layer, Layer::Forwarded | Layer::Approved) {
            names.extend(record.latency_ms.map(|ms| ("time", bucket(ms).to_string())));
        }
        for (_, range) in Range::WORDS {
            let start = event.at.as_second().div_euclid(range.span()) * range.span();
            for (what, name) in &names {
                *tallies.entry((what, range.span(), start, name.clone())).or_default() += number;
            }
        }
    }
    let tally = |((what, span, start, name), calls)| Tally { what, span, start, name, calls };
    tallies.into_iter().map(tally).collect()
}

/// Times are counted in buckets, eight for each doubling, from a microsecond on: none is off by more than a tenth.
fn bucket(ms: f64) -> u32 {
    let micros = Duration::try_from_secs_f64(ms / 1_000.0).unwrap_or_default().as_micros().max(1);
    let exponent = micros.ilog2();
    let eighth = (micros << 3 >> exponent) & 7;
    exponent * 8 + u32::try_from(eighth).unwrap_or(0)
}

/// The upper end of a bucket (ms).
fn upper(bucket: u32) -> f64 {
    let base = f64::from(2u32.saturating_pow((bucket / 8).min(31)));
    base * (f64::from(bucket % 8) + 9.0) / 8.0 / 1_000.0
}

fn percentiles(times: &BTreeMap<u32, u64>) -> Option<(f64, f64)> {
    let all: u64 = times.values().sum();
    let at = |share: u64| {
        let wanted = (all * share).div_ceil(100);
        let mut seen = 0;
        times.iter().find_map(|(bucket, count)| {
            seen += count;
            (seen >= wanted).then(|| upper(*bucket))
        })
    };
    (all > 0).then(|| Some((at(50)?, at(99)?))).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_within_an_eighth() {
        for ms in [0.001, 0.41, 1.0, 2.8, 17.3, 424.0, 30_000.0] {
            let told = upper(bucket(ms));
            assert!(told >= ms * 0.999 && told <= ms * 1.15 + 0.001, "{ms} {told}");
        }
    }

    #[test]
    fn half_and_ninety_nine_of_a_hundred_are_found() {
        let times = BTreeMap::from([(bucket(1.0), 98), (bucket(50.0), 2)]);
        let (half, most) = percentiles(&times).unwrap_or_default();
        assert!((1.0..1.2).contains(&half) && (50.0..58.0).contains(&most), "{half} {most}");
        assert_eq!(percentiles(&BTreeMap::new()), None);
    }

    #[test]
    fn bars_end_with_the_one_that_is_now() {
        let now: Timestamp = "2026-11-23T14:02:31Z".parse().unwrap_or_default();
        for (_, range) in Range::WORDS {
            let bars = i64::try_from(range.bars()).unwrap_or(0);
            let end = range.start(now) + bars * range.span();
            assert!(end > now.as_second() && end - range.span() <= now.as_second());
        }
    }
}
