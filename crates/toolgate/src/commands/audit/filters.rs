//! Which events are meant: the filters that every view of the trail shares.

use admin::{CallEnd, CallFilter};
use clap::{Args, builder::PossibleValuesParser};
use domain::clock::Now;
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};

use crate::settings::duration;

/// Which events: who, where, what, when.
#[derive(Debug, Args)]
pub struct Span {
    #[arg(long, value_name = "A")]
    agent: Option<String>,
    #[arg(long, value_name = "S")]
    service: Option<String>,
    #[arg(long, value_name = "T")]
    action: Option<String>,
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    since: Option<Moment>,
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    until: Option<Moment>,
}

/// Those of calls that stand so or have a text in them, in the words of the console and its API.
#[derive(Debug, Args)]
pub struct Filters {
    #[command(flatten)]
    span: Span,
    #[arg(long, value_name = "D", value_parser = PossibleValuesParser::new(CallEnd::WORDS.map(|(word, _)| word)))]
    decision: Option<String>,
    #[arg(long, value_name = "T")]
    text: Option<String>,
}

/// A time, or an age that becomes one when it is known what time it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    At(Timestamp),
    Ago(SignedDuration),
}

impl Filters {
    /// The filter.
    pub fn filter(&self, now: Now) -> CallFilter {
        let Span { agent, service, action, since, until } = &self.span;
        CallFilter {
            agent: agent.clone(),
            service: service.clone(),
            action: action.clone(),
            end: self.decision.as_deref().and_then(CallEnd::parse),
            text: self.text.clone(),
            since: at(*since, now),
            until: at(*until, now),
        }
    }
}

fn at(moment: Option<Moment>, now: Now) -> Option<Timestamp> {
    match moment? {
        Moment::At(at) => Some(at),
        Moment::Ago(age) => now.wall.checked_sub(age).ok(),
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
        let since = Some(moment("1h").unwrap());
        let span = Span { agent: None, service: None, action: None, since, until: None };
        let filters = Filters { span, decision: None, text: None };
        let wall = "2026-11-23T14:00:00Z".parse().unwrap();
        let now = Now { wall, monotonic: std::time::Duration::ZERO };
        assert_eq!(filters.filter(now).since, Some("2026-11-23T13:00:00Z".parse().unwrap()));
    }
}
