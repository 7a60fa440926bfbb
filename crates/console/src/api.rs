//! The JSON API (contract §6): the one table of its routes. Who may do what, what comes in and what goes out stands
//! here; OpenAPI is made of it, and a test walks it for every role.

pub(crate) mod agents;
mod approvals;
mod audit;
mod endpoint;
mod events;
mod kill;
mod openapi;
mod operators;
mod overview;
mod page;
mod policy;
pub(crate) mod services;
pub(crate) mod session;
mod tokens;
mod tools;

use crate::metrics;
use endpoint::{
    ACTION, AGENT, BEHIND, CURSOR, DECISION, ETAG, FORMAT, IF_MATCH, LAST_EVENT_ID, LIMIT, RANGE, REFRESH,
    SERVICE, SINCE, STATUS, TEXT, UNTIL, endpoints,
};
pub(crate) use endpoint::{Endpoint, Place};
use jiff::Timestamp;
pub(crate) use page::Listed;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A time: RFC 3339, UTC.
#[derive(Clone, Copy)]
pub(crate) struct Time(pub(crate) Timestamp);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(|_| D::Error::custom("a time is written 2026-11-23T14:02:31Z"))
    }
}

impl JsonSchema for Time {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

/// A text in the schema that must look so.
macro_rules! pattern {
    ($($(#[$doc:meta])* $name:ident $pattern:literal $length_max:literal)*) => {$(
        $(#[$doc])*
        pub(crate) struct $name;

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "maxLength": $length_max })
            }
        }
    )*};
}

pattern! {
    /// The name of an agent.
    Agent "^[a-z0-9][a-z0-9_.-]*$" 64
    /// The name of a service.
    Service "^[a-z0-9][a-z0-9-]*$" 40
    /// The name of a role.
    Role "^[a-z0-9][a-z0-9_-]*$" 64
    /// An e-mail address.
    Address "^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+$" 254
}

endpoints! {
    POST "/api/login" ANYONE session::log_in (session::LoginBody) -> (200 session::LoginAnswer) []
        "Logs in with e-mail and password; the refresh token comes as a cookie."
    POST "/api/refresh" ANYONE session::refresh () -> (200 session::LoginAnswer) [REFRESH]
        "Renews a login with the refresh token of the cookie, which is spent by that; used twice, it ends the login."
    POST "/api/logout" ANYONE session::log_out () -> (204) []
        "Ends the login that asks."
    GET "/api/me" VIEWER session::me () -> (200 session::Me) []
        "Who is logged in."
    POST "/api/me/password" VIEWER session::change_password (session::PasswordBody) -> (200 session::LoginAnswer) []
        "Changes one's own password. All of one's logins end and one's tokens are revoked; the answer is a new login."
    GET "/api/sessions" VIEWER session::list () -> (200 Listed<session::SessionView>) []
        "One's own logins that go on; an owner sees everybody's."
    DELETE "/api/sessions/{id}" VIEWER session::end () -> (204) []
        "Ends one of one's own logins; an owner ends anybody's."

    GET "/api/services" VIEWER services::list () -> (200 Listed<services::ServiceView>) []
        "All services by name."
    POST "/api/services" OWNER services::create (services::ServiceBody) -> (201 services::ServiceView) [ETAG]
        "Makes a service; one with a command is made by whoever owns the home only."
    GET "/api/services/{name}" VIEWER services::show () -> (200 services::ServiceView) [ETAG]
        "One service with its credentials, never their values; its ETag is what If-Match wants."
    PUT "/api/services/{name}" OWNER services::put (services::ServiceBody) -> ([200 201] services::ServiceView) [IF_MATCH, ETAG]
        "Makes a service what the body says; with If-Match only where nobody changed it meanwhile."
    DELETE "/api/services/{name}" OWNER services::remove () -> (204) [IF_MATCH]
        "Removes a service with its credentials; its history stays."
    PUT "/api/services/{name}/credentials" OWNER services::set_credentials (services::CredentialsBody) -> (200 services::ServiceView) [IF_MATCH, ETAG]
        "Sets the values of all credentials; those that are not named have none any more."
    PUT "/api/services/{name}/documentation" OWNER services::document (services::DocumentationBody) -> (200 services::ServiceView) [IF_MATCH, ETAG]
        "Sets what agents in scope may read about it; an empty text is none."

    GET "/api/services/{name}/tools" VIEWER tools::list () -> (200 tools::ToolsView) []
        "The tools of a service with their pins, what has changed, and what should be looked at."
    POST "/api/services/{name}/tools/{tool}/accept" OWNER tools::accept (tools::AcceptBody) -> (200 tools::ToolsView) []
        "Accepts a tool as it was shown; 409 where it is defined otherwise by now."

    GET "/api/agents" VIEWER agents::list () -> (200 Listed<agents::AgentView>) []
        "All agents by name with their keys, deleted ones too."
    POST "/api/agents" OWNER agents::create (agents::NewAgent) -> (201 agents::AgentView) [ETAG]
        "Makes an agent without a key."
    GET "/api/agents/{name}" VIEWER agents::show () -> (200 agents::AgentView) [ETAG]
        "One agent with its keys; its ETag is what If-Match wants."
    PATCH "/api/agents/{name}" OWNER agents::update (agents::AgentPatch) -> (200 agents::AgentView) [IF_MATCH, ETAG]
        "Gives an agent another role and scope, or another state; with If-Match only where nobody changed it meanwhile."
    DELETE "/api/agents/{name}" OWNER agents::remove () -> (204) [IF_MATCH]
        "Deletes an agent: its keys stop, its history stays, its name is not given again."
    POST "/api/agents/{name}/keys" OWNER agents::create_key (Option<agents::NewKeyBody>) -> (201 agents::CreatedKeyView) []
        "Makes a key, which is shown this once."
    DELETE "/api/keys/{id}" OWNER agents::revoke_key () -> (204) []
        "Revokes a key; gateways refuse it within a second."

    GET "/api/approvals" VIEWER approvals::list () -> (200 Listed<approvals::ApprovalView>) [STATUS, AGENT, BEHIND, LIMIT]
        "Held calls, the newest first."
    GET "/api/approvals/{id}" VIEWER approvals::show () -> (200 approvals::ApprovalView) []
        "One held call, for who may decide with all that will be sent."
    POST "/api/approvals/{id}/approve" APPROVER approvals::approve (approvals::ApproveBody) -> (200 approvals::ApprovalView) []
        "Says yes to exactly the call that has the digest; 409 for another one."
    POST "/api/approvals/{id}/deny" APPROVER approvals::deny (approvals::DenyBody) -> (200 approvals::ApprovalView) []
        "Says no, for everybody; the agent is told the reason."
    POST "/api/approvals/{id}/resolve" APPROVER approvals::resolve (approvals::ResolveBody) -> (200 approvals::ApprovalView) []
        "Says what became of a call whose outcome was lost."

    GET "/api/audit" VIEWER audit::list () -> (200 Listed<audit::EventView>) [AGENT, SERVICE, ACTION, DECISION, TEXT, SINCE, UNTIL, CURSOR, LIMIT]
        "Events of the trail, the newest first. A page looks at 50,000 events, at 14,000 with `decision` or `text`, and may hold few that fit; `next` goes on."
    GET "/api/audit/export" VIEWER audit::export () -> (200 text) [FORMAT, AGENT, SERVICE, ACTION, DECISION, TEXT, SINCE, UNTIL]
        "All events that fit, the oldest first: one JSON object a line (`jsonl`), or `csv`."
    GET "/api/audit/verify" VIEWER audit::verify () -> (200 audit::VerificationView) []
        "Checks every hash and link of the trail."
    GET "/api/audit/{call}" VIEWER audit::show () -> (200 Listed<audit::EventView>) []
        "The events of one call, the oldest first."

    GET "/api/policy" VIEWER policy::show () -> (200 policy::PolicyView) []
        "The policy that is in force, as its file has it."
    POST "/api/policy/explain" VIEWER policy::explain (policy::ExplainBody) -> (200 policy::ExplanationView) []
        "What would happen to a call, and why. Nothing is sent."
    GET "/api/kill" VIEWER kill::show () -> (200 kill::KillView) []
        "How the kill switch stands."
    PUT "/api/kill" OWNER kill::turn (kill::KillBody) -> (200 kill::KillView) []
        "Turns the kill switch on, with a reason, or off."
    GET "/api/overview" VIEWER overview::show () -> (200 overview::OverviewView) [RANGE]
        "What came through in the last hour, day or week."

    GET "/api/operators" VIEWER operators::list () -> (200 Listed<operators::OperatorView>) []
        "All operators by address."
    POST "/api/operators" OWNER operators::create (operators::NewOperator) -> (201 operators::OperatorView) []
        "Adds an operator."
    PATCH "/api/operators/{email}" OWNER operators::update (operators::OperatorPatch) -> (200 operators::OperatorView) []
        "Disables or enables an operator, or gives them another role or password, one at a time; disabling and another password end their logins."
    POST "/api/operators/{email}/tokens" VIEWER tokens::create (tokens::NewToken) -> (201 tokens::CreatedTokenView) []
        "Makes a token for the operator's scripts, which is shown this once; it takes that operator's password."
    GET "/api/tokens" VIEWER tokens::list () -> (200 Listed<tokens::TokenView>) []
        "One's own tokens, revoked and expired ones too; an owner sees everybody's."
    DELETE "/api/tokens/{id}" VIEWER tokens::revoke () -> (204) []
        "Revokes one of one's own tokens; an owner revokes anybody's."
    POST "/api/welcome" ANYONE session::welcome (session::WelcomeBody) -> (201 session::LoginAnswer) []
        "Makes the first owner with the token of the link that `serve` printed, and logs them in."
    GET "/api/events" VIEWER events::open () -> (200 events) [LAST_EVENT_ID]
        "What happens, as server-sent events: approval, call, change, system, health, and reset where too much happened."
    GET "/metrics" VIEWER metrics::open () -> (200 metrics) []
        "Metrics for operators, or for a monitor with its own token (docs/metrics.md)."
    GET "/api/openapi.json" ANYONE openapi::show () -> (200 openapi::Document) []
        "This description."
}
