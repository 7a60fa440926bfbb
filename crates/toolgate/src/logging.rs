//! What the process says about itself, on stderr and nowhere else: stdout belongs to the answer.

use tracing_subscriber::{filter::LevelFilter, fmt::time::FormatTime};

use crate::settings::{Level, LogForm, Telemetry};

/// Starts the log. Only the first start in a process counts.
pub fn start(telemetry: &Telemetry) {
    let level = match telemetry.level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    };
    let builder =
        tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_target(false);
    // A second start is a test's or the demo's, and the first log serves it as well.
    let _ = match telemetry.log {
        LogForm::Text => builder.with_ansi(false).with_timer(ClockTime).try_init(),
        LogForm::Json => builder.json().with_timer(FullTime).try_init(),
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
