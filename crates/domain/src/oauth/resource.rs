//! The endpoints of the gateway that tokens are issued for (RFC 8707): one for each service and protocol, one for all
//! services on MCP, and the gateway itself for what belongs to no service.

use crate::names::ServiceName;

/// What a token must be for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// `/mcp/{service}`.
    Mcp(ServiceName),
    /// `/mcp`: all services in scope.
    AllMcp,
    /// `/http/{service}` and what is below.
    Http(ServiceName),
    /// Everything else: `/proxy`, `/v1/…`.
    Gateway,
}

impl Resource {
    /// The resource that a request's path belongs to.
    #[must_use]
    pub fn of_path(path: &str) -> Self {
        let service = |name: &str| ServiceName::parse(name).ok();
        let found = if path == "/mcp" {
            Some(Self::AllMcp)
        } else if let Some(name) = path.strip_prefix("/mcp/") {
            service(name).map(Self::Mcp)
        } else {
            let below = path.strip_prefix("/http/");
            below.and_then(|rest| rest.split('/').next()).and_then(service).map(Self::Http)
        };
        // What has no name that a service can have leads to none.
        found.unwrap_or(Self::Gateway)
    }

    /// The resource whose own path this is; `None` for a path below it, or of nothing.
    #[must_use]
    pub fn at(path: &str) -> Option<Self> {
        Some(Self::of_path(path)).filter(|resource| resource.path() == path)
    }

    /// Its path, without a slash at the end.
    #[must_use]
    pub fn path(&self) -> String {
        match self {
            Self::Mcp(service) => format!("/mcp/{service}"),
            Self::AllMcp => "/mcp".to_owned(),
            Self::Http(service) => format!("/http/{service}"),
            Self::Gateway => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_belongs_to_one_resource() {
        for (path, of) in [
            ("/mcp", "/mcp"),
            ("/mcp/files", "/mcp/files"),
            ("/http/billing", "/http/billing"),
            ("/http/billing/", "/http/billing"),
            ("/http/billing/v1/../x", "/http/billing"),
            ("/proxy", ""),
            ("/v1/approvals/ap_1", ""),
            ("/mcp/", ""),
            ("/mcp/Files", ""),
            ("/mcp/files/x", ""),
            ("/http/%62illing/v1", ""),
            ("/", ""),
        ] {
            assert_eq!(Resource::of_path(path).path(), of, "{path}");
        }
        for path in ["", "/mcp", "/mcp/files", "/http/billing"] {
            assert_eq!(Resource::at(path).unwrap().path(), path);
        }
        for path in ["/", "/http/billing/v1", "/mcp/Files", "/proxy", "/v1/services", "/mcp/files/"] {
            assert_eq!(Resource::at(path), None, "{path}");
        }
    }
}
