//! The tools made for an HTTP service, and what models are told about them.

use std::fmt::Write as _;

use domain::{audit::write_json_string, policy::Rights};
use pipeline::{risk::Risk, wait_tool};

use crate::answer::OUTPUT_SCHEMA;

/// The tool that makes a request.
pub(super) const REQUEST: &str = "request";
/// The tool that gives the service's documentation.
pub(super) const DOCUMENTATION: &str = "documentation";

/// What `request` takes: the envelope of `POST /proxy` without its service (JSON Schema 2020-12).
const INPUT_SCHEMA: &str = concat!(
    r#"{"type":"object","properties":{"#,
    r#""method":{"type":"string","description":"The HTTP method in capitals, such as GET or POST."},"#,
    r#""path":{"type":"string","description":"The path alone, as `/v1/items`: no address, no query."},"#,
    r#""query":{"anyOf":[{"type":"object"},{"type":"string"}],"#,
    r#""description":"Names with texts, numbers, booleans or lists of them; or the query as one text, escaped."},"#,
    r#""headers":{"type":"object","description":"Names with texts or lists of texts. No credentials."},"#,
    r#""body":{"description":"A text is sent as it is, anything else as the JSON that it is."},"#,
    r#""intent":{"type":"string","description":"Why you make this request, for whoever must approve it."},"#,
    r#""idempotency_key":{"type":"string","#,
    r#""description":"A new one for each effect that you want; with it the request happens once, however often it is repeated."}"#,
    r#"},"required":["method","path"],"additionalProperties":false}"#
);

/// The member `tools` of a list, as an agent with these rights sees it.
pub(super) fn listed(service: &str, rights: Rights<'_>, risk: &Risk) -> String {
    let mut tools = Vec::new();
    if rights.may_request() {
        tools.push(request(service));
        tools.push(documentation(service));
        tools.extend(wait_tool(rights, risk).map(str::to_owned));
    }
    format!("\"tools\":[{}]", tools.join(","))
}

/// The members of the result that gives a service's documentation.
pub(super) fn read(service: &str, text: Option<&str>) -> String {
    let mut members = "\"content\":[{\"type\":\"text\",\"text\":".to_owned();
    match text {
        Some(text) => write_json_string(&mut members, text),
        None => {
            let _ = write!(
                members,
                "\"Nobody has written documentation for `{service}`. Use what you know of this API, or ask the user \
                 which requests it takes.\""
            );
        }
    }
    members.push_str("}],\"isError\":false");
    members
}

/// What a model is told when it meets the server.
pub(super) fn instructions(service: &str) -> String {
    format!(
        "This is the HTTP API `{service}` behind Toolgate. `request` sends one request to it; the gateway adds the \
         credential. `documentation` tells what there is to know about the API. A request that is refused, limited or \
         held for a person's approval is answered with an error that says what to do next."
    )
}

// A service's name is letters, digits and `-`: it stands in JSON as it is.

fn request(service: &str) -> String {
    format!(
        "{{\"name\":\"{REQUEST}\",\"title\":\"Request to {service}\",\"description\":\"Send one HTTP request to the API \
         `{service}`. Give method and path; the gateway adds the credential, so send none. The result has the status, the \
         headers that matter and the body. What the policy does not allow is refused, and the error says what to do \
         next.\",\"inputSchema\":{INPUT_SCHEMA},\"outputSchema\":{OUTPUT_SCHEMA},\"annotations\":{{\"readOnlyHint\":false,\
         \"destructiveHint\":true,\"idempotentHint\":false,\"openWorldHint\":true}}}}"
    )
}

fn documentation(service: &str) -> String {
    format!(
        "{{\"name\":\"{DOCUMENTATION}\",\"title\":\"Documentation of {service}\",\"description\":\"Read the documentation \
         of the API `{service}`: which requests it takes and what they mean. Read it before the first \
         request.\",\"inputSchema\":{{\"type\":\"object\",\"additionalProperties\":false}},\
         \"annotations\":{{\"readOnlyHint\":true,\"openWorldHint\":false}}}}"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::proxy;

    #[test]
    fn a_request_takes_what_an_envelope_takes() {
        let tool: Value = serde_json::from_str(&request("billing")).unwrap();
        let properties = tool["inputSchema"]["properties"].as_object().unwrap();
        let mut names: Vec<&str> = properties.keys().map(String::as_str).collect();
        let mut known = proxy::REQUEST;
        names.sort_unstable();
        known.sort_unstable();
        assert_eq!(names, known);
        assert!(tool["outputSchema"]["properties"]["status"].is_object());
    }

    #[test]
    fn what_is_not_documented_is_said_to_be() {
        let read =
            |text| -> Value { serde_json::from_str(&format!("{{{}}}", read("billing", text))).unwrap() };
        assert_eq!(read(Some("# \"Billing\"\n"))["content"][0]["text"], "# \"Billing\"\n");
        let none = read(None)["content"][0]["text"].as_str().unwrap().to_owned();
        assert!(none.starts_with("Nobody has written documentation for `billing`. "), "{none}");
        let documentation: Value = serde_json::from_str(&documentation("billing")).unwrap();
        assert_eq!(documentation["annotations"]["readOnlyHint"], true);
    }
}
