//! Host and Origin: a web page must not reach the gateway through somebody's browser (DNS rebinding, CSRF).
//! Only this side can check them, because the hop to the upstream rewrites both.

use std::net::IpAddr;

use http::{HeaderMap, Uri, header, uri::Authority};

/// The names that a listener answers to.
#[derive(Debug, Clone, Default)]
pub struct Names {
    hosts: Vec<String>,
    origins: Vec<String>,
}

impl Names {
    /// The names of a listener at `listen`: its own address (all loopback names when it is a loopback address),
    /// the host of its public URL, and what the settings add.
    #[must_use]
    pub fn of(listen: IpAddr, public_url: Option<&str>, hosts: &[String], origins: &[String]) -> Self {
        let mut all: Vec<String> = hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        if listen.is_loopback() {
            all.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
        }
        if !listen.is_unspecified() {
            all.push(listen.to_string());
        }
        let public = public_url.and_then(|url| url.parse::<Uri>().ok());
        all.extend(public.as_ref().and_then(Uri::host).map(|host| bare(host).to_ascii_lowercase()));
        let origins =
            origins.iter().map(|origin| origin.trim_end_matches('/').to_ascii_lowercase()).collect();
        Self { hosts: all, origins }
    }

    /// Checks what a request says of its host and its origin.
    ///
    /// # Errors
    /// In words, what is foreign.
    pub(crate) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), &'static str> {
        if !self.is_host_ours(uri, headers) {
            return Err("the Host is not one of this gateway's names (gateway.allowed_hosts)");
        }
        match headers.get(header::ORIGIN) {
            None => Ok(()),
            Some(origin) if origin.to_str().is_ok_and(|origin| self.trusts(origin)) => Ok(()),
            Some(_) => Err("the Origin is another site (gateway.allowed_origins)"),
        }
    }

    /// Whether a request names a host, and it is one of ours.
    pub(crate) fn is_host_ours(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        // `head.rs` has seen to it that there are not two of them.
        let host = match headers.get(header::HOST) {
            Some(host) => host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()),
            None => uri.authority().cloned(),
        };
        host.is_some_and(|host| self.answers_to(host.host()))
    }

    fn answers_to(&self, host: &str) -> bool {
        let host = bare(host);
        self.hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
    }

    fn trusts(&self, origin: &str) -> bool {
        let lower = origin.to_ascii_lowercase();
        if self.origins.contains(&lower) {
            return true;
        }
        let host = lower.split_once("://").and_then(|(_, rest)| rest.parse::<Authority>().ok());
        host.is_some_and(|host| self.answers_to(host.host()))
    }
}

/// An IPv6 address without its brackets.
fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: &str, origin: Option<&str>) -> Result<(), &'static str> {
        let names = Names::of(
            "127.0.0.1".parse().unwrap(),
            Some("https://gate.example.com/x"),
            &["Extra.test".to_owned()],
            &["https://app.example.com".to_owned()],
        );
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        names.check(&"/mcp/x".parse().unwrap(), &headers)
    }

    #[test]
    fn only_our_own_names_are_answered() {
        for host in
            ["127.0.0.1:8484", "localhost", "LOCALHOST:1", "[::1]:8484", "gate.example.com", "extra.test"]
        {
            assert!(check(host, None).is_ok(), "{host}");
        }
        for host in
            ["evil.test", "127.0.0.1.evil.test", "localhost.evil.test:8484", "10.0.0.1", "user@localhost.x"]
        {
            assert!(check(host, None).is_err(), "{host}");
        }
    }

    #[test]
    fn only_trusted_pages_may_call() {
        for origin in [
            "http://localhost:3000",
            "http://127.0.0.1",
            "https://app.example.com",
            "https://gate.example.com",
        ] {
            assert!(check("localhost", Some(origin)).is_ok(), "{origin}");
        }
        for origin in
            ["null", "https://evil.test", "https://localhost.evil.test", "http://app.example.com", "file://"]
        {
            assert!(check("localhost", Some(origin)).is_err(), "{origin}");
        }
    }

    #[test]
    fn who_names_no_host_is_not_answered() {
        let names = Names::of("127.0.0.1".parse().unwrap(), None, &[], &[]);
        let none = HeaderMap::new();
        assert!(names.check(&"/".parse().unwrap(), &none).is_err());
        assert!(names.check(&"http://localhost/".parse().unwrap(), &none).is_ok());
        assert!(names.check(&"http://evil.test/".parse().unwrap(), &none).is_err());
    }
}
