//! One line a call on stderr. The lines come from the audit writer, a group at a time, and are written by a
//! thread of their own: a terminal that is paused must not hold calls up.

use std::{
    borrow::Cow,
    fmt::Write as _,
    io::Write as _,
    sync::mpsc::{SyncSender, TrySendError, sync_channel},
};

use domain::audit::{Event, Kind};
use pipeline::recorder::Told;

use crate::{output::escape_foreign, settings::LogForm};

/// How many groups of lines may wait for a slow terminal.
const GROUPS_MAX: usize = 256;

/// Writes calls to stderr.
pub struct CallLog {
    form: LogForm,
    lines: SyncSender<String>,
    lost: u64,
}

impl CallLog {
    /// Starts the thread that writes. It ends with the last sender.
    ///
    /// # Errors
    /// When the machine gives no thread.
    pub fn start(form: LogForm) -> std::io::Result<Self> {
        let (lines, inbox) = sync_channel::<String>(GROUPS_MAX);
        std::thread::Builder::new().name("call-log".into()).spawn(move || {
            while let Ok(text) = inbox.recv() {
                // Nobody reads stderr: that is no reason to stop the gateway.
                let _ = std::io::stderr().lock().write_all(text.as_bytes());
            }
        })?;
        Ok(Self { form, lines, lost: 0 })
    }

    /// The listener that the audit writer tells what it has written.
    #[must_use]
    pub fn into_listener(mut self) -> Told {
        Box::new(move |event| self.tell(event))
    }

    fn tell(&mut self, events: &mut dyn Iterator<Item = &Event>) {
        let mut text = String::new();
        let mut count = 0;
        for event in events.filter(|event| matches!(event.kind, Kind::Outcome | Kind::Refusal | Kind::Held)) {
            count += 1;
            match self.form {
                LogForm::Text => text_line(&mut text, event),
                LogForm::Json => json_line(&mut text, event),
            }
        }
        if text.is_empty() {
            return;
        }
        if self.lost > 0 {
            let _ = writeln!(
                text,
                "{} calls were not logged here, stderr was too slow; the trail has them",
                self.lost
            );
        }
        match self.lines.try_send(text) {
            Ok(()) => self.lost = 0,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.lost += count,
        }
    }
}

/// `14:02:31 laptop files read_text_file forwarded 200 3.1 ms c_9q4x7m2kd0pw`
fn text_line(out: &mut String, event: &Event) {
    let result = event.result.map_or("–", domain::audit::ResultWord::as_str);
    // Writing to a `String` cannot fail.
    let _ = write!(
        out,
        "{} {} {} {} {result}",
        event.at.strftime("%H:%M:%S"),
        foreign(event.agent.as_ref().map(domain::names::AgentName::as_str)),
        foreign(event.service.as_deref()),
        foreign(event.action.as_deref()),
    );
    if let Some(count) = event.count {
        let _ = write!(out, " × {count}");
    }
    if let Some(status) = event.status {
        let _ = write!(out, " {status}");
    }
    if let Some(us) = event.latency_us {
        let _ = write!(out, " {}.{} ms", us / 1_000, us % 1_000 / 100);
    }
    if let Some(call) = event.call_id {
        let _ = write!(out, " {call}");
    }
    if let (Kind::Held, Some(approval)) = (event.kind, event.approval_id) {
        let _ = write!(out, " {approval}");
    }
    out.push('\n');
}

/// A name from outside, escaped; a dash where there is none.
fn foreign(text: Option<&str>) -> Cow<'_, str> {
    text.map_or(Cow::Borrowed("–"), escape_foreign)
}

fn json_line(out: &mut String, event: &Event) {
    let line = serde_json::json!({
        "at": event.at.to_string(),
        "level": "info",
        "call_id": event.call_id.map(|call| call.to_string()),
        "approval_id": event.approval_id.map(|approval| approval.to_string()),
        "agent": event.agent.as_ref().map(domain::names::AgentName::as_str),
        "service": event.service.as_deref(),
        "action": event.action.as_deref(),
        "result": event.result.map(domain::audit::ResultWord::as_str),
        "status": event.status,
        "count": event.count,
        "latency_us": event.latency_us,
    });
    let _ = writeln!(out, "{line}");
}
