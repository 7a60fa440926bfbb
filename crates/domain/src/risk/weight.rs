//! What a call weighs by its kind alone: the heuristic of contract §4, which needs nobody's word but the operator's.

use super::RiskScore;
use crate::call::Action;

/// What a tool's own server says about it (MCP, `ToolAnnotations`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ToolHint {
    /// `readOnlyHint: true`.
    ReadOnly,
    /// Nothing that matters here.
    Plain,
    /// `destructiveHint: true`.
    Destructive,
}

impl ToolHint {
    /// Every hint.
    pub const ALL: [Self; 3] = [Self::ReadOnly, Self::Plain, Self::Destructive];

    /// The word under which it is kept.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::Plain => "plain",
            Self::Destructive => "destructive",
        }
    }

    /// Reads the word back.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hint| hint.as_str() == word)
    }
}

/// What kind of call it is, for risk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Weight {
    /// `DELETE`.
    Delete,
    /// `PUT`.
    Put,
    /// `PATCH`.
    Patch,
    /// `POST`.
    Post,
    /// `GET`.
    Get,
    /// `HEAD`.
    Head,
    /// `OPTIONS`.
    Options,
    /// An HTTP method that is none of these.
    OtherMethod,
    /// A tool of which nothing is known, or nothing is believed.
    Tool,
    /// A tool that only reads, as its trusted server says.
    ReadOnlyTool,
    /// A tool that destroys, as its trusted server says.
    DestructiveTool,
    /// A tool of a trusted server that no list has shown yet: whoever skips the list must not get a milder weight.
    UnseenTool,
    /// Every other call of MCP: a resource is read, a prompt is fetched, an argument is completed.
    Read,
}

impl Weight {
    /// The weight of a request's method (RFC 9110 §9.1: case matters). A server may see it otherwise, so another
    /// case makes a method never milder.
    #[must_use]
    pub fn of_method(method: &str) -> Self {
        match method {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "OPTIONS" => Self::Options,
            _ if method.eq_ignore_ascii_case("DELETE") => Self::Delete,
            _ if method.eq_ignore_ascii_case("PUT") => Self::Put,
            _ if method.eq_ignore_ascii_case("PATCH") => Self::Patch,
            _ if method.eq_ignore_ascii_case("POST") => Self::Post,
            _ => Self::OtherMethod,
        }
    }

    /// The weight of an action; `method` is the protocol's word, `of_tool` knows what is known of tools.
    #[must_use]
    pub fn of_action(action: &Action, method: &str, of_tool: impl FnOnce(&str) -> Self) -> Self {
        match action {
            Action::Request(_) => Self::of_method(method),
            Action::Tool(tool) => of_tool(tool),
            _ => Self::Read,
        }
    }

    /// The weight of a tool whose server is trusted; `None`: no list has shown it yet.
    #[must_use]
    pub const fn of_trusted_tool(hint: Option<ToolHint>) -> Self {
        match hint {
            Some(ToolHint::ReadOnly) => Self::ReadOnlyTool,
            Some(ToolHint::Plain) => Self::Tool,
            Some(ToolHint::Destructive) => Self::DestructiveTool,
            None => Self::UnseenTool,
        }
    }

    /// The weight as a number.
    #[must_use]
    pub const fn score(self) -> RiskScore {
        RiskScore::from_thousandths(match self {
            Self::Delete | Self::DestructiveTool | Self::UnseenTool => 700,
            Self::Put => 500,
            Self::Patch => 400,
            Self::Post | Self::Tool => 300,
            Self::OtherMethod => 200,
            Self::Get | Self::ReadOnlyTool | Self::Read => 100,
            Self::Head | Self::Options => 50,
        })
    }

    /// The kind of call as people read it, before its number: `POST`, `read-only tool`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delete => "DELETE",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Post => "POST",
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Options => "OPTIONS",
            Self::OtherMethod => "other method",
            Self::Tool => "tool",
            Self::ReadOnlyTool => "read-only tool",
            Self::DestructiveTool => "destructive tool",
            Self::UnseenTool => "tool not seen yet",
            Self::Read => "read",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weights_are_the_contracts() {
        let methods = [
            ("DELETE", "0.70"),
            ("PUT", "0.50"),
            ("PATCH", "0.40"),
            ("POST", "0.30"),
            ("GET", "0.10"),
            ("HEAD", "0.05"),
            ("OPTIONS", "0.05"),
            ("PROPFIND", "0.20"),
        ];
        for (method, score) in methods {
            assert_eq!(Weight::of_method(method).score().to_string(), score, "{method}");
        }
        let tools = [
            (Weight::Tool, "0.30"),
            (Weight::of_trusted_tool(Some(ToolHint::Plain)), "0.30"),
            (Weight::of_trusted_tool(Some(ToolHint::ReadOnly)), "0.10"),
            (Weight::of_trusted_tool(Some(ToolHint::Destructive)), "0.70"),
            (Weight::of_trusted_tool(None), "0.70"),
            (Weight::Read, "0.10"),
        ];
        for (weight, score) in tools {
            assert_eq!(weight.score().to_string(), score, "{weight:?}");
        }
    }

    #[test]
    fn another_case_makes_a_method_never_milder() {
        for method in ["DELETE", "PUT", "PATCH", "POST", "GET", "HEAD", "OPTIONS"] {
            let lower = method.to_ascii_lowercase();
            assert!(Weight::of_method(&lower).score() >= Weight::of_method(method).score(), "{method}");
        }
    }

    #[test]
    fn hints_read_back() {
        for hint in ToolHint::ALL {
            assert_eq!(ToolHint::parse(hint.as_str()), Some(hint));
        }
        assert_eq!(ToolHint::parse("harmless"), None);
    }
}
