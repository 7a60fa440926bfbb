//! Which events are meant: the filters that every view of the trail shares.

use clap::{Args, builder::PossibleValuesParser};
use domain::{audit::ResultWord, clock::Now};
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use store::Query;

use crate::settings::duration;

#[derive(Debug, Args)]
pub struct Filters {
    #[arg(long, value_name = "A")]
    agent: Option<String>,
    #[arg(long, value_name = "S")]
    service: Option<String>,
    #[arg(long, value_name = "T")]
    action: Option<String>,
    #[arg(long, value_name = "D", value_parser = PossibleValuesParser::new(ResultWord::ALL.map(ResultWord::as_str)))]
    decision: Option<String>,
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    since: Option<Moment>,
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    until: Option<Moment>,
}

/// A time, or an age that becomes one when it is known what time it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    At(Timestamp),
    Ago(SignedDuration),
}

impl Filters {
    /// The query for the store.
    pub fn query(&self, now: Now) -> Query {
        let at = |moment: Option<Moment>| match moment? {
            Moment::At(at) => Some(at),
            Moment::Ago(age) => now.wall.checked_sub(age).ok(),
        };
        Query {
            agent: self.agent.clone(),
            service: self.service.clone(),
            action: self.action.clone(),
            result: self.decision.clone(),
            since: at(self.since),
            until: at(self.until),
            ..Query::default()
        }
    }
}

fn moment(text: &str) -> Result<Moment, String> {
    let age = duration(text).and_then(|age| SignedDuration::try_from(age).ok()).map(Moment::Ago);
    let time = || text.parse::<Timestamp>().ok().map(Moment::At);
    let day = || {
        let start = text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok()?;
        Some(Moment::At(start.timestamp()))
    };
    let shown = || text.chars().take(40).flat_map(char::escape_debug).collect::<String>();
    age.or_else(time)
        .or_else(day)
        .ok_or_else(|| format!("`{}` is no time; write 1h, 7d, 2026-11-21 or 2026-11-21T14:02:00Z", shown()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_an_age_a_day_or_a_time() {
        assert_eq!(moment("7d"), Ok(Moment::Ago(SignedDuration::from_hours(168))));
        assert_eq!(moment("2026-11-21"), Ok(Moment::At("2026-11-21T00:00:00Z".parse().unwrap())));
        assert_eq!(
            moment("2026-11-21T15:02:00+01:00"),
            Ok(Moment::At("2026-11-21T14:02:00Z".parse().unwrap()))
        );
        for bad in ["", "yesterday", "2026-13-01", "1h ago"] {
            assert!(moment(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_age_counts_back_from_now() {
        let filters = Filters {
            agent: None,
            service: None,
            action: None,
            decision: None,
            since: Some(moment("1h").unwrap()),
            until: None,
        };
        let wall = "2026-11-23T14:00:00Z".parse().unwrap();
        let now = Now { wall, monotonic: std::time::Duration::ZERO };
        assert_eq!(filters.query(now).since, Some("2026-11-23T13:00:00Z".parse().unwrap()));
    }
}
