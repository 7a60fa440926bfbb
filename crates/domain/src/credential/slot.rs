//! Which credentials a service can have together: each writes to its own place, over a connection that can carry it.

use super::{CredentialKind, CredentialSlot};
use crate::{
    address::{self, Zone},
    names::CredentialName,
    service::{EnvValue, Network, Upstream},
};

/// The most credentials of one service.
pub const SLOTS_MAX: usize = 16;

/// Headers that a message is made of, that other hops own, or that this gateway writes itself.
const RESERVED: [&str; 31] = [
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "cookie2",
    "date",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "idempotency-key",
    "if-range",
    "keep-alive",
    "last-event-id",
    "max-forwards",
    "origin",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-real-ip",
];
const RESERVED_STARTS: [&str; 7] =
    ["mcp-", "sec-", "x-forwarded-", "x-http-method", "x-method-override", "x-original-", "x-toolgate-"];

/// Whether no credential and no service may claim a header of this name, given in lower case.
#[must_use]
pub fn is_reserved_header(name: &str) -> bool {
    RESERVED.contains(&name) || RESERVED_STARTS.iter().any(|start| name.starts_with(start))
}

/// Why a credential does not fit its service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadSlot {
    /// Which one.
    pub name: CredentialName,
    /// What is wrong, lower case.
    pub what: String,
    /// What to do about it.
    pub advice: String,
}

/// Whether a service may have these credentials.
///
/// # Errors
/// The first one that does not fit: its name is taken, it writes where another one does, its kind is not for this
/// upstream, its token endpoint is out of reach.
pub fn check_slots(upstream: &Upstream, slots: &[CredentialSlot]) -> Result<(), BadSlot> {
    for (at, slot) in slots.iter().enumerate() {
        let bad =
            |what: String, advice: &str| BadSlot { name: slot.name.clone(), what, advice: advice.to_owned() };
        let name = &slot.name;
        if at >= SLOTS_MAX {
            return Err(bad(format!("a service has {SLOTS_MAX} credentials at most"), "leave some out"));
        }
        let before = slots.iter().take(at);
        if before.clone().any(|other| other.name == *name) {
            return Err(bad(format!("credential `{name}` is there twice"), "leave one out"));
        }
        if let Some(place) = place(&slot.kind)
            && let Some(other) =
                before.clone().find(|other| self::place(&other.kind).as_ref() == Some(&place))
        {
            let what = format!("credentials `{}` and `{name}` would both be {place}", other.name);
            return Err(bad(what, "leave one out"));
        }
        fits_upstream(upstream, slot).map_err(|(what, advice)| bad(what, advice))?;
    }
    Ok(())
}

/// Whether the value of `old` may go on as the value of `new`: it is read in the same way, and sent to nobody else.
#[must_use]
pub fn carries_over(old: &CredentialKind, new: &CredentialKind) -> bool {
    match (old, new) {
        (CredentialKind::Basic { username: old }, CredentialKind::Basic { username: new }) => {
            old.is_some() == new.is_some()
        }
        (CredentialKind::Oauth2ClientCredentials(old), CredentialKind::Oauth2ClientCredentials(new))
        | (CredentialKind::Oauth2RefreshToken(old), CredentialKind::Oauth2RefreshToken(new)) => {
            old.token_url.origin() == new.token_url.origin()
        }
        (old, new) => old.word() == new.word(),
    }
}

type Unfit = (String, &'static str);

fn fits_upstream(upstream: &Upstream, slot: &CredentialSlot) -> Result<(), Unfit> {
    let name = &slot.name;
    match (upstream, &slot.kind) {
        (Upstream::Stdio(stdio), CredentialKind::Env) => {
            let named = |value: &EnvValue| matches!(value, EnvValue::Credential(of) if of == name);
            if stdio.env.values().any(named) {
                return Ok(());
            }
            Err((
                format!("no variable of `env` takes credential `{name}`"),
                "write env: { NAME: { credential: … } }",
            ))
        }
        (Upstream::Stdio(_), kind) => Err((
            format!("kind `{}` is for services with a `url`", kind.word()),
            "a child gets its credentials in `env`",
        )),
        (Upstream::Http(_) | Upstream::Api(_), CredentialKind::Env) => Err((
            "kind `env` is for services with a `command`".to_owned(),
            "use another kind, such as `bearer`",
        )),
        (Upstream::Http(_) | Upstream::Api(_), kind) => {
            let Some(http) = upstream.http() else { return Ok(()) };
            if *kind == CredentialKind::ClientCertificate && !http.url.is_tls() {
                return Err((
                    "a client certificate is shown over TLS only".to_owned(),
                    "use an https:// address",
                ));
            }
            match kind {
                CredentialKind::Oauth2ClientCredentials(client)
                | CredentialKind::Oauth2RefreshToken(client) => {
                    token_endpoint_in_reach(&client.token_url, http.network)
                }
                _ => Ok(()),
            }
        }
    }
}

fn token_endpoint_in_reach(url: &crate::service::UpstreamUrl, network: Network) -> Result<(), Unfit> {
    let host = url.host().escape_debug();
    match (address::literal_zone(url.host()), network) {
        (Some(Zone::Never(what)), _) => {
            Err((format!("the token endpoint `{host}` is {what}"), "it is never dialled, name another"))
        }
        (Some(Zone::Private(what)), Network::Public) => Err((
            format!("the token endpoint `{host}` is {what}"),
            "if it is meant, add `network: private` to the service",
        )),
        (_, Network::Public) if !url.is_tls() => {
            Err((format!("the secret would travel to `{host}` unencrypted"), "use an https:// token_url"))
        }
        _ => Ok(()),
    }
}

/// Where a credential goes, if there is room for only one.
fn place(kind: &CredentialKind) -> Option<String> {
    match kind {
        CredentialKind::Bearer
        | CredentialKind::Basic { .. }
        | CredentialKind::Oauth2ClientCredentials(_)
        | CredentialKind::Oauth2RefreshToken(_)
        | CredentialKind::AwsSigv4 { .. } => Some("the header `authorization`".to_owned()),
        CredentialKind::Header { name, .. } => Some(format!("the header `{name}`")),
        CredentialKind::Query { name } => Some(format!("the parameter `{}`", name.escape_debug())),
        CredentialKind::ClientCertificate => Some("the client certificate".to_owned()),
        CredentialKind::Env => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        credential::kind_of,
        service::{ApiUpstream, HttpUpstream, OddPaths, UpstreamUrl},
    };

    fn api(url: &str, network: Network) -> Upstream {
        let http = HttpUpstream { url: UpstreamUrl::parse(url).unwrap(), network, ca_pem: None };
        Upstream::Api(ApiUpstream {
            http,
            stream: false,
            idempotency_header: None,
            odd_paths: OddPaths::Refuse,
        })
    }

    fn slot(name: &str, word: &str, given: &[(&'static str, &str)]) -> CredentialSlot {
        let given = given.iter().map(|(parameter, value)| (*parameter, (*value).to_owned())).collect();
        CredentialSlot { name: CredentialName::parse(name).unwrap(), kind: kind_of(word, &given).unwrap() }
    }

    fn fault(upstream: &Upstream, slots: &[CredentialSlot]) -> String {
        check_slots(upstream, slots)
            .map_or_else(|bad| format!("{}: {}; {}", bad.name, bad.what, bad.advice), |()| "ok".into())
    }

    #[test]
    fn two_credentials_never_write_the_same_place() {
        let far = api("https://a.example", Network::Public);
        let bearer = slot("a", "bearer", &[]);
        let basic = slot("b", "basic", &[]);
        let header = slot("c", "header", &[("header", "Authorization")]);
        let own = slot("d", "header", &[("header", "X-Key")]);
        let key = slot("e", "query", &[("parameter", "key")]);
        let clash = "b: credentials `a` and `b` would both be the header `authorization`; leave one out";
        assert_eq!(fault(&far, &[bearer.clone(), basic]), clash);
        assert!(fault(&far, &[bearer.clone(), header]).contains("would both be the header `authorization`"));
        assert!(
            fault(&far, &[key.clone(), CredentialSlot { name: own.name.clone(), ..key.clone() }])
                .contains("`key`")
        );
        assert_eq!(fault(&far, &[bearer.clone(), own, key]), "ok");
        assert!(fault(&far, &[bearer.clone(), bearer]).contains("credential `a` is there twice"));
    }

    #[test]
    fn a_kind_must_fit_the_upstream() {
        let (far, plain) =
            (api("https://a.example", Network::Public), api("http://a.example", Network::Public));
        assert!(fault(&far, &[slot("a", "env", &[])]).contains("services with a `command`"));
        assert!(fault(&plain, &[slot("a", "client_certificate", &[])]).contains("over TLS only"));
        assert_eq!(fault(&far, &[slot("a", "client_certificate", &[])]), "ok");
    }

    #[test]
    fn a_value_carries_over_only_where_it_means_the_same_and_goes_to_the_same_place() {
        let oauth = |url| slot("a", "oauth2_refresh_token", &[("token_url", url), ("client_id", "me")]).kind;
        let (here, there) = (oauth("https://id.example/token"), oauth("https://di.example/token"));
        assert!(carries_over(&here, &oauth("https://id.example/v2/token")));
        assert!(!carries_over(&here, &there), "the token would be sent to somebody else");
        let (pair, named) = (slot("a", "basic", &[]).kind, slot("a", "basic", &[("username", "ada")]).kind);
        assert!(!carries_over(&pair, &named) && carries_over(&named, &named));
        let header = |name| slot("a", "header", &[("header", name)]).kind;
        assert!(carries_over(&header("x-a"), &header("x-b")) && !carries_over(&header("x-a"), &pair));
    }

    #[test]
    fn a_token_endpoint_is_judged_like_an_upstream() {
        let oauth = |url| slot("a", "oauth2_client_credentials", &[("token_url", url), ("client_id", "me")]);
        let (far, near) =
            (api("https://a.example", Network::Public), api("https://a.example", Network::Private));
        assert_eq!(fault(&far, &[oauth("https://id.example/token")]), "ok");
        assert!(fault(&far, &[oauth("http://id.example/token")]).contains("unencrypted"));
        assert!(fault(&far, &[oauth("https://127.0.0.1/token")]).contains("add `network: private`"));
        assert_eq!(fault(&near, &[oauth("http://127.0.0.1:9/token")]), "ok");
        assert!(fault(&near, &[oauth("http://169.254.169.254/")]).contains("never dialled"));
    }
}
