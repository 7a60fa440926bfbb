//! Which key or access token came with a request, wherever in it one may be, and from which address it came.

use std::net::{IpAddr, SocketAddr};

use domain::{
    key::PresentedKey,
    oauth::{AccessToken, Resource},
};
use http::{HeaderMap, HeaderName, Uri, header};
use pipeline::Presented;

use crate::Front;

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Where a key may stand in a message's `_meta`.
pub(crate) const META_KEY: &str = "toolgate/key";

/// Gathers the texts that claim to be a key.
#[derive(Clone, Default)]
pub(crate) struct Claims {
    found: Option<Presented>,
}

impl Claims {
    /// What headers and, where that is switched on, the query say.
    pub(crate) fn of(headers: &HeaderMap, uri: &Uri, in_query: bool) -> Self {
        let mut claims = Self::default();
        for value in headers.get_all(header::AUTHORIZATION) {
            // Another scheme is not for us, and never goes upstream: it counts as something that is no key.
            let token = value.to_str().ok().and_then(bearer).unwrap_or_default();
            match AccessToken::parse(token) {
                // An access token stands here and nowhere else (RFC 6750 §2; MCP wants it so).
                Some(token) => claims.join(Presented::Token(token, Resource::of_path(uri.path()))),
                None => claims.add(token),
            }
        }
        for value in headers.get_all(API_KEY) {
            claims.add(value.to_str().unwrap_or_default());
        }
        if in_query {
            let pairs = uri.query().unwrap_or_default().split('&');
            for key in pairs.filter_map(|pair| pair.strip_prefix("api_key=")) {
                claims.add(key);
            }
        }
        claims
    }

    /// One more claim. The same key may come twice; two different texts are one too many.
    pub(crate) fn add(&mut self, text: &str) {
        self.join(PresentedKey::parse(text).map_or(Presented::Misshapen, Presented::One));
    }

    fn join(&mut self, claim: Presented) {
        self.found = Some(match (self.found.take(), claim) {
            (None, claim) => claim,
            (Some(Presented::One(first)), Presented::One(second)) if first == second => Presented::One(first),
            (Some(Presented::Token(first, at)), Presented::Token(second, _)) if first == second => {
                Presented::Token(first, at)
            }
            (Some(Presented::Misshapen), Presented::Misshapen) => Presented::Misshapen,
            _ => Presented::Several,
        });
    }

    /// What may prove somebody, where one such came.
    pub(crate) fn key(&self) -> Option<&Presented> {
        self.found.as_ref().filter(|found| matches!(found, Presented::One(_) | Presented::Token(..)))
    }

    pub(crate) fn into_presented(self) -> Presented {
        self.found.unwrap_or(Presented::Missing)
    }
}

/// The token of `Authorization: Bearer …` (RFC 6750; the scheme's case does not count).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' '))
}

/// The client's address: the last one that a proxy we trust has written down, else the connection's.
pub(crate) fn source(front: &Front, peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
    let peer = peer.ip().to_canonical();
    if !(front.trusts_proxy)(peer) {
        return peer;
    }
    headers
        .get_all(FORWARDED_FOR)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|address| address.trim().parse::<IpAddr>().ok())
        .map(|address| address.to_canonical())
        .rfind(|address| !(front.trusts_proxy)(*address))
        .unwrap_or(peer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::key::mint;

    fn claims(authorization: &[&str], api_key: &[&str], uri: &str) -> Presented {
        let mut headers = HeaderMap::new();
        for value in authorization {
            headers.append(header::AUTHORIZATION, value.parse().unwrap());
        }
        for value in api_key {
            headers.append(API_KEY, value.parse().unwrap());
        }
        Claims::of(&headers, &uri.parse().unwrap(), true).into_presented()
    }

    #[test]
    fn a_key_may_come_twice_but_not_two_keys() {
        let (one, two) = (mint([1; 5], [1; 32]), mint([2; 5], [2; 32]));
        let (one, two) = (one.reveal(), two.reveal());
        let bearer_one = format!("Bearer {one}");
        assert!(matches!(claims(&[], &[], "/x"), Presented::Missing));
        assert!(matches!(claims(&[&bearer_one], &[], "/x"), Presented::One(_)));
        assert!(matches!(claims(&[&format!("bEARER  {one}")], &[one], "/x"), Presented::One(_)));
        assert!(matches!(claims(&[], &[], &format!("/x?a=b&api_key={one}")), Presented::One(_)));
        for several in [
            claims(&[&bearer_one], &[two], "/x"),
            claims(&[&bearer_one], &["junk"], "/x"),
            claims(&["Basic abc"], &[one], "/x"),
            claims(&[], &[one], &format!("/x?api_key={two}")),
        ] {
            assert!(matches!(several, Presented::Several));
        }
        assert!(matches!(claims(&["Basic abc"], &[], "/x"), Presented::Misshapen));
        let token = "Bearer eyJhbGciOiJub25lIn0.e30.c2ln";
        let bare = "eyJhbGciOiJub25lIn0.e30.c2ln";
        assert!(matches!(
            claims(&[token, token], &[], "/mcp/files?a"),
            Presented::Token(_, Resource::Mcp(name)) if name.as_str() == "files"
        ));
        // Anywhere else it is nothing, and beside something else it is one too many.
        assert!(matches!(claims(&[], &[bare], "/x"), Presented::Misshapen));
        assert!(matches!(claims(&[], &[], &format!("/x?api_key={bare}")), Presented::Misshapen));
        for several in [
            claims(&[token], &[bare], "/x"),
            claims(&[token], &[one], "/x"),
            claims(&[token, "Bearer eyJhbGciOiJub25lIn0.e31.c2ln"], &[], "/x"),
            claims(&[token], &[], &format!("/x?api_key={one}")),
        ] {
            assert!(matches!(several, Presented::Several));
        }
        assert!(matches!(claims(&["Bearer agt_short"], &[], "/x"), Presented::Misshapen));
    }
}
