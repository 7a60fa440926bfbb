//! What the Model Context Protocol calls things: versions, methods, and what a request acts on.
//! One table knows every method. What is not in it is unknown, and what to do then is the caller's to decide.

mod headers;
mod list_change;
mod params;
mod subject;
mod version;

pub use headers::{HeaderMismatch, check_headers, encode_header};
pub use list_change::ListChange;
pub use params::{InvalidAnnotation, PARAM_ANNOTATION, RepeatedArgument, check_params, repeated_arguments};
pub use subject::{Subject, declares_extension, stated_version, subject};
pub use version::{Era, Eras, Version};

/// HTTP header names, in lower case as `http` has them.
pub mod header {
    /// Session of the legacy era.
    pub const SESSION_ID: &str = "mcp-session-id";
    /// Protocol version, on each request since 2025-06-18.
    pub const PROTOCOL_VERSION: &str = "mcp-protocol-version";
    /// Mirror of `method`, modern era.
    pub const METHOD: &str = "mcp-method";
    /// Mirror of `params.name`, `params.uri` or `params.taskId`, modern era.
    pub const NAME: &str = "mcp-name";
    /// Start of the headers that mirror arguments, modern era.
    pub const PARAM_PREFIX: &str = "mcp-param-";
    /// Where to resume a stream, legacy era.
    pub const LAST_EVENT_ID: &str = "last-event-id";
}

/// Keys of `params._meta` and `result._meta`.
pub mod meta {
    /// Protocol version of one request, modern era.
    pub const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
    /// Capabilities of the client, modern era.
    pub const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
    /// Name and version of the client, modern era.
    pub const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
    /// From which level on the client wants log messages about one request, modern era.
    pub const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
    /// Name and version of the server, in results of the modern era.
    pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
    /// The `subscriptions/listen` request whose stream a notification came on, modern era.
    pub const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
    /// The token that progress notifications repeat.
    pub const PROGRESS_TOKEN: &str = "progressToken";
    /// Start of the members that are for the gateway and never go upstream.
    pub const OURS_PREFIX: &str = "toolgate/";
}

/// Names of extensions, as they stand under `capabilities.extensions`.
pub mod extension {
    /// `tools/call` may answer a task, which the client asks after with `tasks/get` (modern era).
    pub const TASKS: &str = "io.modelcontextprotocol/tasks";
}

/// Error codes of JSON-RPC 2.0 and of MCP. Codes from -32768 to -32000 are never ours to invent.
pub mod code {
    /// Not JSON.
    pub const PARSE_ERROR: i32 = -32700;
    /// Not a request.
    pub const INVALID_REQUEST: i32 = -32600;
    /// Unknown method, or one that this version does not have.
    pub const METHOD_NOT_FOUND: i32 = -32601;
    /// Parameters missing or of the wrong kind.
    pub const INVALID_PARAMS: i32 = -32602;
    /// Headers do not say what the body says (2026-07-28).
    pub const HEADER_MISMATCH: i32 = -32020;
    /// The request needs a capability that the client did not declare (2026-07-28).
    pub const MISSING_CAPABILITY: i32 = -32021;
    /// The server does not speak the version asked for (2026-07-28).
    pub const UNSUPPORTED_VERSION: i32 = -32022;
}

/// One method of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    /// Its name on the wire.
    pub name: &'static str,
    /// Whether it wants an answer.
    pub kind: Kind,
    /// Who may send it.
    pub from: From,
    /// The versions that have it.
    pub eras: Eras,
    /// Which parameters say what it acts on.
    pub acts_on: ActsOn,
    /// What it counts as.
    pub class: Class,
}

/// Whether a method wants an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It does.
    Request,
    /// It does not.
    Notification,
}

/// Who may send a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The client only.
    Client,
    /// The server only.
    Server,
    /// Both.
    Either,
}

/// What a method acts on, and which parameters say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActsOn {
    /// The tool `params.name`.
    Tool,
    /// The prompt `params.name`.
    Prompt,
    /// The resource `params.uri`.
    Resource,
    /// The prompt or resource that `params.ref` names.
    Completion,
    /// The resources that `params.notifications.resourceSubscriptions` names.
    Subscription,
    /// A whole list, whose answer names many things.
    List(ListKind),
    /// The task `params.taskId`.
    Task,
    /// The service as such.
    Service,
}

/// The four lists. They are filtered on the way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ListKind {
    /// `tools/list`
    Tools,
    /// `resources/list`
    Resources,
    /// `resources/templates/list`
    ResourceTemplates,
    /// `prompts/list`
    Prompts,
}

impl ListKind {
    /// The member of the result that holds the list.
    pub const fn result_member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Resources => "resources",
            Self::ResourceTemplates => "resourceTemplates",
            Self::Prompts => "prompts",
        }
    }

    /// The member of an element that says which tool, prompt or resource it describes.
    pub const fn element_name(self) -> &'static str {
        match self {
            Self::Tools | Self::Prompts => "name",
            Self::Resources => "uri",
            Self::ResourceTemplates => "uriTemplate",
        }
    }
}

/// What a message counts as: only calls are limited per tool, assessed and held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It does something: `tools/call`, `resources/read`, `prompts/get`, `completion/complete`.
    Call,
    /// Everything else.
    Housekeeping,
}

/// The method called `name`.
pub fn method(name: &str) -> Option<&'static Method> {
    let index = METHODS.binary_search_by(|method| method.name.cmp(name)).ok()?;
    METHODS.get(index)
}

/// Every method of 2025-06-18, 2025-11-25 and 2026-07-28 with the tasks extension, sorted by name.
///
/// Versions follow the published schemas: `initialize`, sessions and requests from the server end with
/// 2025-11-25; tasks are core there and an extension, with other methods, in 2026-07-28.
#[rustfmt::skip]
pub const METHODS: &[Method] = {
    use ActsOn::*;
    use Class::{Call, Housekeeping};
    use Kind::{Notification, Request};
    use self::From::*;
    use Version::*;
    const ALL: Eras = Eras::since(V2025_03_26);
    const LEGACY: Eras = ALL.until(V2025_11_25);
    const LAST_LEGACY: Eras = Eras::since(V2025_11_25).until(V2025_11_25);
    const MODERN: Eras = Eras::since(V2026_07_28);

    const fn row(name: &'static str, kind: Kind, from: From, eras: Eras, acts_on: ActsOn, class: Class) -> Method {
        Method { name, kind, from, eras, acts_on, class }
    }
    &[
        row("completion/complete",                  Request,      Client, ALL,         Completion, Call),
        row("elicitation/create",                   Request,      Server, Eras::since(V2025_06_18).until(V2025_11_25), Service, Housekeeping),
        row("initialize",                           Request,      Client, LEGACY,      Service, Housekeeping),
        row("logging/setLevel",                     Request,      Client, LEGACY,      Service, Housekeeping),
        row("notifications/cancelled",              Notification, Either, ALL,         Service, Housekeeping),
        row("notifications/elicitation/complete",   Notification, Server, LAST_LEGACY, Service, Housekeeping),
        row("notifications/initialized",            Notification, Client, LEGACY,      Service, Housekeeping),
        row("notifications/message",                Notification, Server, ALL,         Service, Housekeeping),
        row("notifications/progress",               Notification, Either, ALL,         Service, Housekeeping),
        row("notifications/prompts/list_changed",   Notification, Server, ALL,         Service, Housekeeping),
        row("notifications/resources/list_changed", Notification, Server, ALL,         Service, Housekeeping),
        row("notifications/resources/updated",      Notification, Server, ALL,         Service, Housekeeping),
        row("notifications/roots/list_changed",     Notification, Client, LEGACY,      Service, Housekeeping),
        row("notifications/subscriptions/acknowledged", Notification, Server, MODERN,  Service, Housekeeping),
        row("notifications/tasks",                  Notification, Server, MODERN,      Service, Housekeeping),
        row("notifications/tasks/status",           Notification, Either, LAST_LEGACY, Service, Housekeeping),
        row("notifications/tools/list_changed",     Notification, Server, ALL,         Service, Housekeeping),
        row("ping",                                 Request,      Either, LEGACY,      Service, Housekeeping),
        row("prompts/get",                          Request,      Client, ALL,         Prompt, Call),
        row("prompts/list",                         Request,      Client, ALL,         List(ListKind::Prompts), Housekeeping),
        row("resources/list",                       Request,      Client, ALL,         List(ListKind::Resources), Housekeeping),
        row("resources/read",                       Request,      Client, ALL,         Resource, Call),
        row("resources/subscribe",                  Request,      Client, LEGACY,      Resource, Housekeeping),
        row("resources/templates/list",             Request,      Client, ALL,         List(ListKind::ResourceTemplates), Housekeeping),
        row("resources/unsubscribe",                Request,      Client, LEGACY,      Resource, Housekeeping),
        row("roots/list",                           Request,      Server, LEGACY,      Service, Housekeeping),
        row("sampling/createMessage",               Request,      Server, LEGACY,      Service, Housekeeping),
        row("server/discover",                      Request,      Client, MODERN,      Service, Housekeeping),
        row("subscriptions/listen",                 Request,      Client, MODERN,      Subscription, Housekeeping),
        row("tasks/cancel",                         Request,      Either, Eras::since(V2025_11_25), Task, Housekeeping),
        row("tasks/get",                            Request,      Either, Eras::since(V2025_11_25), Task, Housekeeping),
        row("tasks/list",                           Request,      Either, LAST_LEGACY, Service, Housekeeping),
        row("tasks/result",                         Request,      Either, LAST_LEGACY, Task, Housekeeping),
        row("tasks/update",                         Request,      Client, MODERN,      Task, Housekeeping),
        row("tools/call",                           Request,      Client, ALL,         Tool, Call),
        row("tools/list",                           Request,      Client, ALL,         List(ListKind::Tools), Housekeeping),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_found_by_its_name_and_nothing_else_is() {
        assert!(METHODS.is_sorted_by(|one, other| one.name < other.name));
        for known in METHODS {
            assert_eq!(method(known.name), Some(known));
        }
        for name in ["", "tools/Call", "tools/call ", "tools", "zzz", "initialized", "tools/call\0"] {
            assert_eq!(method(name), None, "{name:?}");
        }
    }

    #[test]
    fn a_name_tells_a_notification_from_a_request() {
        for method in METHODS {
            let is_notification = method.name.starts_with("notifications/");
            assert_eq!(method.kind == Kind::Notification, is_notification, "{}", method.name);
        }
    }

    #[test]
    fn only_the_four_that_do_something_are_calls() {
        let calls: Vec<_> =
            METHODS.iter().filter(|method| method.class == Class::Call).map(|method| method.name).collect();
        assert_eq!(calls, ["completion/complete", "prompts/get", "resources/read", "tools/call"]);
    }

    /// Client requests of each version, as its published schema has them.
    #[test]
    fn each_version_has_the_requests_of_its_schema() {
        let requests = |version| -> Vec<&str> {
            let from_client = |method: &&Method| method.kind == Kind::Request && method.from != From::Server;
            METHODS
                .iter()
                .filter(from_client)
                .filter(|method| method.eras.include(version))
                .map(|m| m.name)
                .collect()
        };
        let shared =
            ["completion/complete", "prompts/get", "prompts/list", "resources/list", "resources/read"];
        let oldest = [
            "initialize",
            "logging/setLevel",
            "ping",
            "resources/subscribe",
            "resources/templates/list",
            "resources/unsubscribe",
            "tools/call",
            "tools/list",
        ];
        let tasks = ["tasks/cancel", "tasks/get", "tasks/list", "tasks/result"];
        let newest = [
            "resources/templates/list",
            "server/discover",
            "subscriptions/listen",
            "tasks/cancel",
            "tasks/get",
            "tasks/update",
            "tools/call",
            "tools/list",
        ];
        for (version, expected) in [
            (Version::V2025_06_18, [&shared[..], &oldest].concat()),
            (Version::V2025_11_25, [&shared[..], &oldest, &tasks].concat()),
            (Version::V2026_07_28, [&shared[..], &newest].concat()),
        ] {
            let mut expected = expected;
            expected.sort_unstable();
            assert_eq!(requests(version), expected, "{version}");
        }
    }

    #[test]
    fn the_newest_version_has_no_requests_from_the_server() {
        let from_server = |method: &&Method| method.kind == Kind::Request && method.from == From::Server;
        for method in METHODS.iter().filter(from_server) {
            assert!(!method.eras.include_era(Era::Modern), "{}", method.name);
        }
    }
}
