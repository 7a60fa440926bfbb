//! The explain door: `POST /v1/explain`, what would become of a call, without making it. It takes the envelope of the
//! proxy door, or a tool with its arguments, and reads both as the doors for real calls do.

use bytes::Bytes;
use domain::{
    audit::Effect,
    call::{Action, Call},
    policy::{RuleName, Verdict, Wants},
    stop::{Refusal, Stop, Unreadable},
};
use http::{HeaderMap, Method, Response};
use pipeline::{Exchange, Foretold, flow::Flow};
use serde_json::json;
use wire::{Limits, Message, Raw, json, mcp::Class};

use crate::{
    Front, Knock,
    answer::{self, Form},
    inquiry::Inquiry,
    limits, proxy,
};

/// The members of a question about a tool.
const MEMBERS: [&str; 3] = ["service", "tool", "args"];

pub(crate) fn takes(path: &str) -> bool {
    path == "/v1/explain"
}

pub(crate) async fn open(knock: Knock) -> Response<Flow> {
    let mut inquiry = match Inquiry::of(&knock, "explain") {
        Ok(inquiry) => inquiry,
        Err(response) => return *response,
    };
    let Knock { front, request, .. } = knock;
    if request.method() != Method::POST {
        return inquiry.not_allowed("POST");
    }
    let (head, body) = request.into_parts();
    let mut asked = Call {
        id: inquiry.call.id,
        service: String::new(),
        method: "".into(),
        action: Action::Unknown,
        class: Class::Call,
    };
    let whole = limits::read_message(&head.headers, body, &front, inquiry.key()).await;
    let read = whole.and_then(|bytes| read(&bytes, &head.headers, &front, &mut asked));
    let (exchange, headers) = match read {
        Ok((exchange, headers)) => (Ok(exchange), headers),
        Err(stop) => (Err(stop), HeaderMap::new()),
    };
    match inquiry.foretold(&asked, exchange, headers).await {
        Ok(foretold) => {
            let Told { effect, rule, reason, next } = Told::of(&foretold);
            let rule = rule.map(RuleName::as_str);
            inquiry.told(&json!({ "effect": effect.as_str(), "rule": rule, "reason": reason, "next": next }))
        }
        // The words for a wrong door name the service that was asked about.
        Err(stop @ Stop::Refused(Refusal::WrongDoor { .. })) => {
            answer::stopped(&stop, &asked, &Form::Http, None)
        }
        Err(stop) => inquiry.stopped(&stop).await,
    }
}

fn read(
    bytes: &Bytes,
    outer: &HeaderMap,
    front: &Front,
    asked: &mut Call,
) -> Result<(Exchange, HeaderMap), Stop> {
    let envelope = json::read(bytes, &Limits::of_bytes(bytes.len())).map_err(Unreadable::Body)?;
    if envelope.get("tool").is_none() {
        let read = proxy::read(bytes, outer, front, asked)?;
        return Ok((Exchange::Request(read.request), read.headers));
    }
    let message = tool_call(envelope, asked)?;
    Ok((Exchange::Post(message), HeaderMap::new()))
}

/// The message that would call the tool.
fn tool_call(envelope: Raw<'_>, asked: &mut Call) -> Result<Message, Stop> {
    proxy::check_members(envelope, &MEMBERS)?;
    asked.service = proxy::required(envelope, "service")?;
    let name = proxy::required(envelope, "tool")?;
    let arguments = match envelope.get("args") {
        None => "{}",
        Some(args) if args.is_object() => args.text(),
        Some(_) => return Err(proxy::envelope_fault("`args` must be an object").into()),
    };
    let tool = envelope.get("tool").map_or("\"\"", Raw::text);
    let message = format!(
        r#"{{"jsonrpc":"2.0","id":0,"method":"tools/call","params":{{"name":{tool},"arguments":{arguments}}}}}"#
    );
    let limits = Limits::of_bytes(message.len());
    asked.method = "tools/call".into();
    asked.action = Action::Tool(name);
    Ok(Message::read(message.into(), &limits).map_err(Unreadable::Body)?)
}

/// What an agent may know of a verdict: nothing of a condition's text, nothing of its values.
struct Told<'v> {
    effect: Effect,
    rule: Option<&'v RuleName>,
    reason: String,
    next: &'static str,
}

impl<'v> Told<'v> {
    fn of(foretold: &'v Foretold) -> Self {
        let verdict = match foretold {
            Foretold::Judged(verdict) => verdict,
            Foretold::TooRisky => {
                return Self {
                    effect: Effect::Deny,
                    rule: None,
                    reason: "too risky".into(),
                    next: "Do not make the call. Use another action, or tell the user that it is refused for its risk.",
                };
            }
        };
        match verdict {
            Verdict::Allow { rule, reason, .. } => Self {
                effect: Effect::Allow,
                rule: rule.as_ref(),
                reason: (*reason).to_owned(),
                next: "Make the call; limits still count.",
            },
            Verdict::Ask(wants) => Self {
                effect: Effect::Hold,
                rule: Some(&wants.rule),
                reason: wanted(wants),
                next: "Make the call: it is held until it is approved, and then runs once. A changed call needs its own \
                       approval.",
            },
            Verdict::Never(refused) => Self {
                effect: Effect::Deny,
                rule: refused.rule(),
                reason: refused.reason().into_owned(),
                next: "Do not make the call. Use another action, or tell the user that an operator must change the \
                       policy or the scope.",
            },
            // Nothing is left open once the arguments are known.
            Verdict::Depends => Self {
                effect: Effect::Deny,
                rule: None,
                reason: "silence means no".into(),
                next: "Do not make the call.",
            },
        }
    }
}

fn wanted(wants: &Wants) -> String {
    let people = match wants.quorum.get() {
        1 => "wants a person's approval".to_owned(),
        several => format!("wants the approval of {several} people"),
    };
    match wants.failure {
        None => people,
        Some(_) => format!("{people}: its condition has no answer for this call, which counts as a match"),
    }
}
