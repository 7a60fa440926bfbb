//! Decisions: the form, and what becomes of it. A decision carries the digest that was shown.

use domain::{approval::Outcome, names::ApprovalId};
use http::Response;
use maud::{Markup, html};
use pipeline::flow::Flow;

use super::{
    approval::again,
    see,
    ui::{Tone, count, icon, note},
};
use crate::{
    asked::{Asked, Pairs},
    problem::Problem,
};

/// The most calls that are decided at once.
const BATCH_MAX: usize = 100;

/// Approve or deny, and why. Nothing is chosen beforehand; only the chosen button can be pressed.
pub(super) fn choice(id: &str, yes: &str, [approve, deny]: [&str; 2]) -> Markup {
    let hint = format!("why-{id}");
    html! {
        fieldset.stack {
            legend.label { "Your decision" }
            div.choice {
                label { input type="radio" name="decision" value="approve" required; span { b { "Approve" } (yes) } }
                label.deny { input type="radio" name="decision" value="deny"; span { b { "Deny" } "Nothing is sent. The agent gets 403 with your reason." } }
            }
            label.field { span { "Reason" } textarea name="reason" rows="2" maxlength="500" aria-describedby=(hint) {} }
            p.hint id=(hint) { "Needed to deny; kept in the trail either way. The agent can read it." }
            div.send {
                button.btn.none disabled { "Choose approve or deny" }
                button.btn.primary.go.yes { (icon("check")) " " (approve) }
                button.btn.stop.go.no { (icon("x")) " " (deny) }
            }
        }
    }
}

/// One decision.
pub(super) async fn decide(asked: Asked) -> Result<Response<Flow>, Problem> {
    let form = asked.form()?;
    let unknown = || Problem::not_found("there is no such held call; look at the inbox");
    let id = ApprovalId::parse(asked.part("id")).ok_or_else(unknown)?;
    let digest = form.get("digest").and_then(digest).ok_or_else(no_digest)?;
    match one(&asked, &id, &digest, form.get("decision"), form.get("reason")).await {
        Ok(done) if form.get("from") == Some("inbox") => Ok(see(&format!("/approvals?done={done}"))),
        Ok(done) => Ok(see(&format!("/approvals/{id}?done={done}"))),
        // What stands in its way is told where the call is shown as it stands now.
        Err(problem) => again(&asked, id.as_str(), problem, form.get("reason")).await,
    }
}

/// The same decision about several calls, each by its own digest.
pub(super) async fn batch(asked: Asked) -> Result<Response<Flow>, Problem> {
    let form = asked.form()?;
    let calls: Vec<(ApprovalId, [u8; 32])> = form
        .iter()
        .filter_map(|(name, value)| Some((ApprovalId::parse(name.strip_prefix("call.")?)?, digest(value)?)))
        .collect();
    if calls.is_empty() {
        return Err(Problem::invalid("no call is ticked; tick those that you decide on"));
    }
    if calls.len() > BATCH_MAX {
        return Err(Problem::invalid("more than 100 calls at once; decide on fewer"));
    }
    let (mut done, mut word, mut failed) = (0, "", None);
    for (id, digest) in &calls {
        match one(&asked, id, digest, form.get("decision"), form.get("reason")).await {
            Ok(this) => (done, word) = (done + 1, this),
            Err(problem) => failed = Some(problem),
        }
    }
    match failed {
        Some(problem) if done == 0 => Err(problem),
        _ => Ok(see(&format!("/approvals?done={word}&calls={done}&left={}", calls.len() - done))),
    }
}

/// What became of a call whose outcome was lost.
pub(super) async fn resolve(asked: Asked) -> Result<Response<Flow>, Problem> {
    let form = asked.form()?;
    let unknown = || Problem::not_found("there is no such held call; look at the inbox");
    let id = ApprovalId::parse(asked.part("id")).ok_or_else(unknown)?;
    let outcome = match form.get("outcome") {
        Some("executed") => Outcome::Executed,
        Some("failed") => Outcome::Failed,
        _ => return Err(Problem::invalid("nothing says what became of it; choose executed or failed")),
    };
    let (admin, who) = (&asked.desk.admin, asked.who()?);
    let reason = form.get("reason").unwrap_or_default();
    match admin.resolve(&who.operator, asked.now.wall, &id, outcome, reason).await {
        Ok(_) => Ok(see(&format!("/approvals/{id}?done=resolved"))),
        Err(error) => again(&asked, id.as_str(), error.into(), form.get("reason")).await,
    }
}

async fn one(
    asked: &Asked,
    id: &ApprovalId,
    digest: &[u8; 32],
    decision: Option<&str>,
    reason: Option<&str>,
) -> Result<&'static str, Problem> {
    let (admin, operator, now) = (&asked.desk.admin, &asked.who()?.operator, asked.now.wall);
    match decision {
        Some("approve") => {
            admin.approve(operator, now, id, digest, reason).await?;
            Ok("approved")
        }
        Some("deny") => {
            admin.deny(operator, now, id, Some(digest), reason.unwrap_or_default()).await?;
            Ok("denied")
        }
        _ => Err(Problem::invalid("choose approve or deny")),
    }
}

/// What was done, after the browser was sent on. Only words of ours: an address must not say anything else.
pub(super) fn said(query: &Pairs) -> Option<Markup> {
    let number = |name: &str| query.get(name).and_then(|value| value.parse::<u64>().ok()).unwrap_or(0);
    let calls = number("calls");
    let (were, each) = match calls {
        0 | 1 => ("The call was".to_owned(), "It is"),
        calls => (format!("{} were", count(calls, "call")), "Each is"),
    };
    let (tone, drawing, text) = match query.get("done")? {
        "approved" => (
            Tone::Good,
            "check",
            format!("{were} approved. {each} sent once, as soon as everybody has approved who must."),
        ),
        "denied" => {
            (Tone::Good, "check", format!("{were} denied. Nothing was sent; the agent gets your reason."))
        }
        "accepted" => {
            (Tone::Good, "check", "The tool is accepted. Agents see and call it within a second.".to_owned())
        }
        "resolved" => (Tone::Good, "check", "The outcome is noted. The agent is told so.".to_owned()),
        _ => return None,
    };
    let left = number("left");
    let text = if left > 0 {
        format!("{text} {} could not be decided any more.", count(left, "call"))
    } else {
        text
    };
    Some(note(tone, drawing, &html! { b { (text) } }))
}

fn digest(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        let digit = |place: u8| char::from(place).to_digit(16).and_then(|value| u8::try_from(value).ok());
        let [high, low] = *pair;
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(bytes)
}

fn no_digest() -> Problem {
    Problem::invalid("the decision does not say which call was shown (digest); open the call again")
}

#[cfg(test)]
mod tests {
    use super::digest;

    #[test]
    fn a_digest_is_64_digits() {
        assert_eq!(digest(&"0a".repeat(32)), Some([10; 32]));
        for bad in ["", "0a", &"0g".repeat(32), &"0a".repeat(33), &"ä".repeat(32)] {
            assert_eq!(digest(bad), None);
        }
    }
}
