//! What one request acts on, read from its parameters.
//! A name that is missing or not a string is refused: policy never sees a guess.

use std::borrow::Cow;

use super::{ActsOn, ListKind, Method, meta};
use crate::json::{Kind, Raw};
use crate::jsonrpc::Message;
use crate::malformed::{Malformed, Reason};

/// What one request acts on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject<'m> {
    /// A tool, by name.
    Tool(Cow<'m, str>),
    /// A prompt, by name.
    Prompt(Cow<'m, str>),
    /// A resource or a resource template, by URI.
    Resource(Cow<'m, str>),
    /// The resources that a subscription names; none when it wants list changes only.
    Resources(Vec<Cow<'m, str>>),
    /// A whole list.
    List(ListKind),
    /// A task, by id.
    Task(Cow<'m, str>),
    /// The service as such.
    Service,
}

/// What `message` acts on, given that its method is `method`.
///
/// # Errors
/// A parameter that must say it and is missing or of the wrong kind.
pub fn subject<'m>(message: &'m Message, method: &Method) -> Result<Subject<'m>, Malformed> {
    let parameters = Parameters { message };
    Ok(match method.acts_on {
        ActsOn::Tool => Subject::Tool(parameters.string("name", "params.name")?),
        ActsOn::Prompt => Subject::Prompt(parameters.string("name", "params.name")?),
        ActsOn::Resource => Subject::Resource(parameters.string("uri", "params.uri")?),
        ActsOn::Task => Subject::Task(parameters.string("taskId", "params.taskId")?),
        ActsOn::Completion => parameters.completion()?,
        ActsOn::Subscription => Subject::Resources(parameters.subscriptions()?),
        ActsOn::List(kind) => Subject::List(kind),
        ActsOn::Service => Subject::Service,
    })
}

/// The version that a request of the modern era states in `params._meta`, which it must together with
/// the capabilities of its client. The version may be one that is not spoken here.
///
/// # Errors
/// Either of the two is missing or of the wrong kind.
pub fn stated_version(message: &Message) -> Result<Cow<'_, str>, Malformed> {
    let parameters = Parameters { message };
    let version = message.meta(meta::PROTOCOL_VERSION);
    let version = version.and_then(Raw::as_str).ok_or_else(|| {
        parameters.refuse(version, "params._meta[\"io.modelcontextprotocol/protocolVersion\"]", "be a string")
    })?;
    let capabilities = message.meta(meta::CLIENT_CAPABILITIES);
    if !capabilities.is_some_and(Raw::is_object) {
        let member = "params._meta[\"io.modelcontextprotocol/clientCapabilities\"]";
        return Err(parameters.refuse(capabilities, member, "be an object"));
    }
    Ok(version)
}

/// Whether the client of a modern request declares an extension, for this request alone.
pub fn declares_extension(message: &Message, extension: &str) -> bool {
    let capabilities = message.meta(meta::CLIENT_CAPABILITIES);
    let declared = capabilities.and_then(|known| known.get("extensions")?.get(extension));
    declared.is_some_and(Raw::is_object)
}

struct Parameters<'m> {
    message: &'m Message,
}

impl<'m> Parameters<'m> {
    fn string(&self, key: &str, member: &'static str) -> Result<Cow<'m, str>, Malformed> {
        let value = self.message.params().and_then(|params| params.get(key));
        self.text(value, member)
    }

    fn text(&self, value: Option<Raw<'m>>, member: &'static str) -> Result<Cow<'m, str>, Malformed> {
        value.and_then(Raw::as_str).ok_or_else(|| self.refuse(value, member, "be a string"))
    }

    fn completion(&self) -> Result<Subject<'m>, Malformed> {
        let reference = self.message.params().and_then(|params| params.get("ref"));
        let member = |key| reference.and_then(|reference| reference.get(key));
        match member("type").and_then(Raw::as_str).as_deref() {
            Some("ref/prompt") => Ok(Subject::Prompt(self.text(member("name"), "params.ref.name")?)),
            Some("ref/resource") => Ok(Subject::Resource(self.text(member("uri"), "params.ref.uri")?)),
            _ => Err(self.refuse(member("type"), "params.ref.type", "be `ref/prompt` or `ref/resource`")),
        }
    }

    fn subscriptions(&self) -> Result<Vec<Cow<'m, str>>, Malformed> {
        let notifications = self.message.params().and_then(|params| params.get("notifications"));
        if !notifications.is_some_and(Raw::is_object) {
            return Err(self.refuse(notifications, "params.notifications", "be an object"));
        }
        let Some(resources) = notifications.and_then(|wanted| wanted.get("resourceSubscriptions")) else {
            return Ok(Vec::new());
        };
        let member = "params.notifications.resourceSubscriptions";
        if resources.kind() != Kind::Array {
            return Err(self.refuse(Some(resources), member, "be an array of strings"));
        }
        let uri = |element: Raw<'m>| {
            element.as_str().ok_or_else(|| self.refuse(Some(element), member, "be an array of strings"))
        };
        resources.elements().map(uri).collect()
    }

    fn refuse(&self, value: Option<Raw<'_>>, member: &'static str, must: &'static str) -> Malformed {
        let nearest = value.or_else(|| self.message.params());
        let at = nearest.and_then(|raw| self.message.span(raw)).map_or(0, |span| span.start);
        Malformed::new(at, Reason::Member { member, must })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::json::Limits;
    use crate::mcp::{METHODS, method};

    fn message(name: &str, params: &str) -> Message {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{name}"{params}}}"#);
        Message::read(Bytes::from(text), &Limits::of_bytes(1 << 16)).unwrap()
    }

    fn described(name: &str, params: &str) -> String {
        match subject(&message(name, &format!(r#","params":{params}"#)), method(name).unwrap()) {
            Ok(subject) => format!("{subject:?}"),
            Err(refusal) => refusal.to_string(),
        }
    }

    #[test]
    fn the_parameters_say_what_a_request_acts_on() {
        for (name, params, expected) in [
            ("tools/call", r#"{"name":"\u0065cho"}"#, r#"Tool("echo")"#),
            ("prompts/get", r#"{"name":"p","uri":"u"}"#, r#"Prompt("p")"#),
            ("resources/read", r#"{"uri":"file:///a"}"#, r#"Resource("file:///a")"#),
            ("resources/subscribe", r#"{"uri":"file:///a"}"#, r#"Resource("file:///a")"#),
            ("tasks/result", r#"{"taskId":"t"}"#, r#"Task("t")"#),
            ("tools/list", r#"{"cursor":"c"}"#, "List(Tools)"),
            ("ping", "{}", "Service"),
            ("completion/complete", r#"{"ref":{"type":"ref/prompt","name":"p"}}"#, r#"Prompt("p")"#),
            ("completion/complete", r#"{"ref":{"type":"ref/resource","uri":"u{x}"}}"#, r#"Resource("u{x}")"#),
            ("subscriptions/listen", r#"{"notifications":{"toolsListChanged":true}}"#, "Resources([])"),
            (
                "subscriptions/listen",
                r#"{"notifications":{"resourceSubscriptions":["a","b"]}}"#,
                r#"Resources(["a", "b"])"#,
            ),
        ] {
            assert_eq!(described(name, params), expected, "{name} {params}");
        }
    }

    #[test]
    fn a_name_that_is_missing_or_no_string_is_refused() {
        for (name, params, expected) in [
            ("tools/call", "{}", "`params.name` must be a string at byte 55"),
            ("tools/call", r#"{"Name":"echo"}"#, "`params.name` must be a string at byte 55"),
            ("tools/call", r#"{"name":1}"#, "`params.name` must be a string at byte 63"),
            ("tools/call", r#"{"name":["echo"]}"#, "`params.name` must be a string at byte 63"),
            ("prompts/get", r#"{"name":null}"#, "`params.name` must be a string at byte 64"),
            ("resources/read", r#"{"name":"a"}"#, "`params.uri` must be a string at byte 59"),
            ("tasks/get", r#"{"id":"a"}"#, "`params.taskId` must be a string at byte 54"),
            (
                "completion/complete",
                "{}",
                "`params.ref.type` must be `ref/prompt` or `ref/resource` at byte 64",
            ),
            (
                "completion/complete",
                r#"{"ref":{"type":"ref/tool","name":"a"}}"#,
                "`params.ref.type` must be `ref/prompt` or `ref/resource` at byte 79",
            ),
            (
                "completion/complete",
                r#"{"ref":{"type":"ref/prompt","uri":"a"}}"#,
                "`params.ref.name` must be a string at byte 64",
            ),
            ("subscriptions/listen", "{}", "`params.notifications` must be an object at byte 65"),
            (
                "subscriptions/listen",
                r#"{"notifications":{"resourceSubscriptions":"a"}}"#,
                "`params.notifications.resourceSubscriptions` must be an array of strings at byte 107",
            ),
            (
                "subscriptions/listen",
                r#"{"notifications":{"resourceSubscriptions":["a",1]}}"#,
                "`params.notifications.resourceSubscriptions` must be an array of strings at byte 112",
            ),
        ] {
            assert_eq!(described(name, params), expected, "{name} {params}");
        }
        for method in
            METHODS.iter().filter(|method| !matches!(method.acts_on, ActsOn::Service | ActsOn::List(_)))
        {
            assert!(subject(&message(method.name, ""), method).is_err(), "{}", method.name);
        }
    }

    #[test]
    fn a_modern_request_states_its_version_and_capabilities() {
        let stated = |meta: &str| {
            let message = message("ping", &format!(r#","params":{{"_meta":{meta}}}"#));
            stated_version(&message).map(Cow::into_owned).map_err(|refusal| refusal.reason.to_string())
        };
        let version = r#""io.modelcontextprotocol/protocolVersion":"2099-01-01""#;
        let capabilities = r#""io.modelcontextprotocol/clientCapabilities":{}"#;
        assert_eq!(stated(&format!("{{{version},{capabilities}}}")).unwrap(), "2099-01-01");
        let refusal = stated(&format!("{{{version}}}")).unwrap_err();
        assert_eq!(
            refusal,
            "`params._meta[\"io.modelcontextprotocol/clientCapabilities\"]` must be an object"
        );
        let declares = |capabilities: &str| {
            let meta = format!(r#""io.modelcontextprotocol/clientCapabilities":{capabilities}"#);
            declares_extension(&message("ping", &format!(r#","params":{{"_meta":{{{meta}}}}}"#)), "a.b/c")
        };
        assert!(declares(r#"{"extensions":{"a.b/c":{}}}"#));
        for without in ["{}", r#"{"extensions":{}}"#, r#"{"extensions":{"a.b/c":true}}"#, r#"{"a.b/c":{}}"#] {
            assert!(!declares(without), "{without}");
        }
        let refusal = stated(&format!("{{{capabilities}}}")).unwrap_err();
        assert_eq!(refusal, "`params._meta[\"io.modelcontextprotocol/protocolVersion\"]` must be a string");
        assert!(stated("[]").is_err() && stated_version(&message("ping", "")).is_err());
    }
}
