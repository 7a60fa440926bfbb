//! What the process says about itself, on stderr and nowhere else: stdout belongs to the answer.

use tracing_subscriber::{
    Layer as _,
    filter::{LevelFilter, Targets},
    fmt::time::FormatTime,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::settings::{Level, LogForm, Telemetry};

/// The crates whose events are written at the level that is asked for. Others say on their lower levels what they
/// carry (HTTP/2 its frames, a database its statements), which nobody masks: of them only warnings are written.
const OURS: [&str; 9] =
    ["wire", "domain", "store", "counters", "vault", "pipeline", "admin", "ingress", "toolgate"];

/// Starts the log. Only the first start in a process counts.
pub fn start(telemetry: &Telemetry) {
    let level = match telemetry.level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    };
    let written = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        // What happens to the store is told by ours, with what it means.
        .with_target("sqlx", level.min(LevelFilter::ERROR))
        .with_targets(OURS.map(|name| (name, level)));
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let registry = tracing_subscriber::registry();
    // A second start is a test's or the demo's, and the first log serves it as well.
    let _ = match telemetry.log {
        LogForm::Text => {
            let layer = layer.with_ansi(false).with_timer(ClockTime);
            registry.with(layer.with_filter(written)).try_init()
        }
        LogForm::Json => registry.with(layer.json().with_timer(FullTime).with_filter(written)).try_init(),
    };
}

/// `14:02:31`, UTC.
struct ClockTime;

impl FormatTime for ClockTime {
    #[expect(clippy::disallowed_methods, reason = "a log line is stamped where it is written")]
    fn format_time(&self, out: &mut tracing_subscriber::fmt::format::Writer<'_>) -> std::fmt::Result {
        write!(out, "{}", jiff::Timestamp::now().strftime("%H:%M:%S"))
    }
}

/// RFC 3339, UTC.
struct FullTime;

impl FormatTime for FullTime {
    #[expect(clippy::disallowed_methods, reason = "a log line is stamped where it is written")]
    fn format_time(&self, out: &mut tracing_subscriber::fmt::format::Writer<'_>) -> std::fmt::Result {
        write!(out, "{:.3}", jiff::Timestamp::now())
    }
}
