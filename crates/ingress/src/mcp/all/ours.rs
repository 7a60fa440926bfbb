//! What the gateway says as an MCP server itself: who it is, which services stand behind it, and the lists.

use domain::world::World;
use pipeline::arrival::Caller;
use wire::{
    Message, Raw,
    mcp::{Era, ListKind, Version, meta},
};

use super::{client::implementation, list::Joined, members, names::quoted};

/// How long at most a client may keep what it was told (milliseconds): scope and policy change at any time.
const TTL_MAX: u64 = 5_000;

/// The response to the request `id`.
pub(super) fn result(id: &str, result: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)
}

/// The error to the request `id`.
pub(super) fn error(id: &str, code: i32, why: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":{}}}}}"#, quoted(why))
}

/// The version that is spoken with a client of the older protocol: its own where that is known, else the last one.
pub(super) fn negotiated(initialize: &Message) -> Version {
    let asked = initialize.params().and_then(|params| params.get("protocolVersion")).and_then(Raw::as_str);
    let known =
        asked.and_then(|version| Version::parse(&version)).filter(|version| version.era() == Era::Legacy);
    known.unwrap_or(Version::V2025_11_25)
}

/// The result of `initialize` (2025-11-25 and before).
pub(super) fn initialized(version: Version, caller: &Caller, world: &World) -> String {
    format!(
        r#"{{"protocolVersion":"{version}","capabilities":{{"tools":{{}},"prompts":{{}}}},"serverInfo":{},"instructions":{}}}"#,
        implementation(),
        quoted(&instructions(caller, world))
    )
}

/// The result of `server/discover` (2026-07-28).
pub(super) fn discovered(caller: &Caller, world: &World) -> String {
    let versions: Vec<String> = Version::ALL.iter().rev().map(|version| format!("\"{version}\"")).collect();
    format!(
        r#"{{"resultType":"complete","supportedVersions":[{}],"capabilities":{{"tools":{{}},"prompts":{{}}}},"instructions":{},{}}}"#,
        versions.join(","),
        quoted(&instructions(caller, world)),
        of_the_newest(TTL_MAX)
    )
}

/// The result of a list.
pub(super) fn list(kind: ListKind, joined: &Joined, modern: bool) -> String {
    let (member, elements) = (kind.result_member(), &joined.elements);
    if modern {
        let rest = of_the_newest(joined.ttl.min(TTL_MAX));
        format!(r#"{{"resultType":"complete","{member}":{elements},{rest}}}"#)
    } else {
        format!(r#"{{"{member}":{elements}}}"#)
    }
}

/// What every result that can be kept says in the newest protocol: it is for this agent alone.
fn of_the_newest(ttl: u64) -> String {
    let (server, implementation) = (meta::SERVER_INFO, implementation());
    format!(r#""ttlMs":{ttl},"cacheScope":"private","_meta":{{"{server}":{implementation}}}"#)
}

/// What a model is told of this server.
fn instructions(caller: &Caller, world: &World) -> String {
    let names: Vec<String> = members(caller, world).iter().map(|service| service.name.to_string()).collect();
    if names.is_empty() {
        return "No service is in your scope; tell the user that an operator must widen it.".to_owned();
    }
    format!(
        "Tools and prompts of several services, each named SERVICE__NAME: {}. What you may not use is not listed. \
         A call that is refused or held for a person's approval says why, and what to do next.",
        names.join(", ")
    )
}
