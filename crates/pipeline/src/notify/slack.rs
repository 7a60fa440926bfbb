//! A notification as a message for Slack's incoming webhooks. Foreign text is put into code spans, where none of it is
//! read as markup, a mention or a link.

use domain::{approval::Status, foreign::escape_foreign, risk::RiskScore};
use serde_json::{Value, json};

use super::notice::{About, Call, Notice};

/// So much is shown of one foreign text (characters): Slack refuses texts over 3,000.
const SHOWN_MAX: usize = 300;

/// The message: `text` for places that show no blocks, `blocks` for all others.
pub(super) fn message(notice: &Notice) -> Value {
    let (headline, details) = match &notice.about {
        About::Held(call) => (format!("Approval needed: {}", asked(call)), held(call)),
        About::Decided(call) => (format!("{}: {}", verdict(call), asked(call)), decided(call)),
        About::Kill { on, by, reason } => {
            let headline = if *on {
                "Kill switch on: nothing is forwarded"
            } else {
                "Kill switch off: calls are forwarded again"
            };
            let by = by.as_deref().map(|by| format!("by {}", code(by)));
            let reason = reason.as_deref().map(|reason| format!("reason {}", code(reason)));
            (headline.to_owned(), by.into_iter().chain(reason).collect())
        }
    };
    let details = details.join(" · ");
    let section = |text: &str| json!({ "type": "section", "text": { "type": "mrkdwn", "text": text } });
    json!({
        "text": format!("{headline} · {details}"),
        "blocks": [section(&headline), section(&details)],
    })
}

fn asked(call: &Call) -> String {
    format!("{} at {}, asked by {}", code(&call.action), code(&call.service), code(&call.agent))
}

fn held(call: &Call) -> Vec<String> {
    let mut details = vec![format!("rule {}", code(&call.rule))];
    if let Some(risk) = call.risk {
        details.push(format!("risk {}", RiskScore::from_thousandths(risk)));
    }
    if call.quorum > 1 {
        details.push(format!("{} operators must approve", call.quorum));
    }
    if let Some(at) = call.expires_at {
        details.push(format!("decide by {} UTC", at.strftime("%F %H:%M")));
    }
    details.push(link(call));
    details
}

fn verdict(call: &Call) -> &'static str {
    match call.status {
        Status::Pending => "Approved, and waiting for more operators",
        Status::Approved => "Approved",
        Status::Denied => "Denied",
        Status::Expired => "Expired",
        Status::Cancelled => "Taken back",
        Status::Executing => "Executing",
        Status::Executed => "Executed",
        Status::Failed => "Failed",
        Status::Unknown => "Outcome unknown",
    }
}

fn decided(call: &Call) -> Vec<String> {
    let mut details = Vec::new();
    if let Some(operator) = &call.decided_by {
        details.push(format!("by {}", code(operator)));
    }
    if let Some(reason) = &call.reason {
        details.push(format!("reason {}", code(reason)));
    }
    details.push(link(call));
    details
}

/// The address is the console's, so nothing in it is foreign.
fn link(call: &Call) -> String {
    format!("<{}|{}>", call.url, call.id)
}

/// Foreign text as a code span: control, direction and look-alike characters and backticks are written out.
fn code(text: &str) -> String {
    let mut shown: String = escape_foreign(text).chars().take(SHOWN_MAX).collect();
    if shown.len() < escape_foreign(text).len() {
        shown.push('…');
    }
    if shown.trim().is_empty() {
        return "–".to_owned();
    }
    // `&` first: what it becomes has one in it.
    let shown = shown.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('`', "\\u{60}");
    format!("`{shown}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_shown_and_never_read_as_markup() {
        for (text, span) in [
            ("POST /v1/refunds", "`POST /v1/refunds`"),
            (
                "<!channel> & <https://bad.example|ok>",
                "`&lt;!channel&gt; &amp; &lt;https://bad.example|ok&gt;`",
            ),
            ("a`*b*`_c_", "`a\\u{60}*b*\\u{60}_c_`"),
            ("x\u{202e}y\nz", "`x\\u{202e}y\\u{a}z`"),
            ("", "–"),
        ] {
            assert_eq!(code(text), span);
        }
        assert_eq!(code(&"x".repeat(4_000)).chars().count(), SHOWN_MAX + 3);
    }
}
