//! Upstreams with an address: what both kinds of services share, and what only `kind: http` has.

use super::*;
use crate::{
    address::{self, Zone},
    credential::is_reserved_header,
    service::{ApiUpstream, HttpUpstream, Network, OddPaths, UpstreamUrl},
};

/// The keys that only HTTP APIs have.
pub const KEYS: [&str; 3] = ["stream", "idempotency_header", "odd_paths"];

impl Reader<'_> {
    pub(super) fn api(&mut self, node: &Node, members: &Members<'_>) -> Option<ApiUpstream> {
        let odd_paths = self.word(
            members,
            "odd_paths",
            OddPaths::Refuse,
            &[("refuse", OddPaths::Refuse), ("pass", OddPaths::Pass)],
        );
        let (stream, idempotency_header) = (self.bool(members, "stream"), self.idempotency_header(members));
        let Some((_, url)) = members.get("url") else {
            // A `command` has been told already.
            if !members.contains_key("command") {
                let place = members.get("name").map_or(node.place, |(key, _)| key.place);
                self.error(place, "it has no `url`; write one, such as `url: https://api.example.com`");
            }
            return None;
        };
        let http = self.http(url, members, "https://api.example.com")?;
        if http.url.uri().query().is_some() {
            self.error(url.place, "the address of an HTTP API has no query; give it up to `?`");
        }
        if let Err(bad) = wire::Target::parse(http.url.uri().path(), None, odd_paths.into()) {
            self.error(
                url.place,
                format!("the path of this address is refused: {bad}; write it in one plain way"),
            );
        }
        Some(ApiUpstream { http, stream, idempotency_header, odd_paths })
    }

    fn idempotency_header(&mut self, members: &Members<'_>) -> Option<String> {
        let (_, node) = members.get("idempotency_header")?;
        let text = node.as_text().unwrap_or_default();
        let name = text.to_ascii_lowercase();
        let reserved = name == "authorization" || (name != "idempotency-key" && is_reserved_header(&name));
        if text.len() > 128 || ::http::HeaderName::from_bytes(text.as_bytes()).is_err() || reserved {
            self.wrong(node, "the header by which the API knows repeated calls, such as Idempotency-Key");
            return None;
        }
        Some(name)
    }

    pub(super) fn http(&mut self, node: &Node, members: &Members<'_>, example: &str) -> Option<HttpUpstream> {
        let network = self.word(
            members,
            "network",
            Network::Public,
            &[("public", Network::Public), ("private", Network::Private)],
        );
        let Some(text) = node.as_text() else {
            self.wrong(node, &format!("an address such as {example}"));
            return None;
        };
        let url = match UpstreamUrl::parse(text) {
            Ok(url) => url,
            Err(bad) => {
                self.error(node.place, bad.to_string());
                return None;
            }
        };
        let host = url.host().escape_debug();
        match (address::literal_zone(url.host()), network) {
            (Some(Zone::Never(what)), _) => {
                self.error(node.place, format!("`{host}` is {what}; it is never dialled"));
            }
            (Some(Zone::Private(what)), Network::Public) => {
                let what = format!("`{host}` is {what}; if it is meant, add `network: private`");
                self.error(node.place, what);
            }
            _ => {}
        }
        Some(HttpUpstream { url, network, ca_pem: None })
    }

    pub(super) fn ca(&mut self, members: &Members<'_>, upstream: Option<&Upstream>) -> Option<String> {
        let (key, _) = members.get("ca")?;
        if let Some(http) = upstream.and_then(Upstream::http)
            && !http.url.is_tls()
        {
            self.error(key.place, "`ca` is for https:// addresses; leave it out, or use https");
        }
        self.path(members, "ca", "the path of a PEM file")
    }
}
