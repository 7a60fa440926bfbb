//! Routes: method, path, and the role that one takes at least. The tables of `api.rs` and `pages.rs` are the only
//! registrations; OpenAPI and the test of who may do what are generated from them.

use domain::operator::OperatorRole;
use http::{Method, Response};
use pipeline::flow::Flow;

use crate::{api, asked::Asked, pages, problem::Problem};

/// What a handler gives.
pub(crate) type Opening = std::pin::Pin<Box<dyn Future<Output = Result<Response<Flow>, Problem>> + Send>>;

/// One thing that can be asked for.
pub(crate) struct Route {
    pub(crate) method: Method,
    /// Segments in braces take any one segment: `/api/agents/{name}`.
    pub(crate) path: &'static str,
    pub(crate) least: Least,
    pub(crate) open: fn(Asked) -> Opening,
}

/// The least that somebody must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Least {
    /// Nobody in particular: logging in, files.
    Anyone,
    /// An operator who is at least this.
    Role(OperatorRole),
}

pub(crate) const ANYONE: Least = Least::Anyone;
pub(crate) const VIEWER: Least = Least::Role(OperatorRole::Viewer);
pub(crate) const APPROVER: Least = Least::Role(OperatorRole::Approver);
pub(crate) const OWNER: Least = Least::Role(OperatorRole::Owner);

/// What a request leads to.
pub(crate) enum Found {
    /// The route, and what stands in the places of its braces.
    Route(&'static Route, Vec<(&'static str, String)>),
    /// The path is known with these methods only.
    OtherMethod(Vec<&'static Method>),
    /// No route has that path.
    Nothing,
}

/// Every route.
pub(crate) fn all() -> impl Iterator<Item = &'static Route> {
    api::ENDPOINTS.iter().map(|endpoint| &endpoint.route).chain(pages::ROUTES)
}

/// The route for a request. A `HEAD` is answered as the `GET` it asks about. Words go before braces.
pub(crate) fn find(method: &Method, path: &str) -> Found {
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    let mut here: Vec<_> = all().filter_map(|route| Some((route, captures(route.path, path)?))).collect();
    here.sort_by_key(|(_, captures)| captures.len());
    let least = here.first().map_or(0, |(_, captures)| captures.len());
    here.retain(|(_, captures)| captures.len() == least);
    let allowed: Vec<_> = here.iter().map(|(route, _)| &route.method).collect();
    if allowed.is_empty() {
        return Found::Nothing;
    }
    match here.into_iter().find(|(route, _)| route.method == *method) {
        Some((route, captures)) => Found::Route(route, captures),
        None => Found::OtherMethod(allowed),
    }
}

/// What stands in the places of the braces; `None` when the path is another one. Escapes in the path are undone, and a
/// segment that cannot be read as UTF-8 fits nothing.
fn captures(pattern: &'static str, path: &str) -> Option<Vec<(&'static str, String)>> {
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    let mut captures = Vec::new();
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(captures),
            (Some(word), Some(segment)) => {
                match word.strip_prefix('{').and_then(|word| word.strip_suffix('}')) {
                    Some(name) => captures.push((name, unescaped(segment).filter(|text| !text.is_empty())?)),
                    None if word == segment => {}
                    None => return None,
                }
            }
            _ => return None,
        }
    }
}

/// A segment of a path with its escapes undone.
fn unescaped(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => digit(rest.next()?)? << 4 | digit(rest.next()?)?,
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

/// docs/console-routes.md.
#[cfg(test)]
fn reference() -> String {
    let mut text = String::from(
        "# Who may do what at the console\n\n<!-- Made of crates/console/src/{api,pages}.rs; a test keeps it so, another asks \
         for every row. -->\n\n\
         Each role may do what the one before it may: viewer, approver, owner. A viewer sees arguments redacted. Without a\n\
         login every row but those for anyone is 401 (a page that is only read leads to the login), with too low a role 403,\n\
         for another site's page 403. The trail tells of each, but of who brought nothing and was led to the login. An agent's key\n\
         is 401 everywhere. `/metrics` also takes a monitor's token (metrics.md).\n\n\
         | method | path | least role |\n|---|---|---|\n",
    );
    for route in all() {
        let least = match route.least {
            Least::Anyone => "anyone",
            Least::Role(role) => role.as_str(),
        };
        text.push_str(&format!("| {} | `{}` | {least} |\n", route.method, route.path));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_who_may_do_what_is_complete() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/console-routes.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, reference()).unwrap();
        }
        assert_eq!(
            std::fs::read_to_string(path).unwrap_or_default(),
            reference(),
            "bring it up to date with UPDATE_DOCS=1"
        );
    }

    #[test]
    fn braces_take_one_segment_and_words_only_themselves() {
        let take = |pattern, path| {
            captures(pattern, path).map(|all| all.into_iter().map(|(_, v)| v).collect::<Vec<_>>())
        };
        assert_eq!(take("/api/agents", "/api/agents"), Some(vec![]));
        assert_eq!(take("/api/agents/{name}", "/api/agents/a%20b"), Some(vec!["a b".to_owned()]));
        for (pattern, path) in [
            ("/api/agents", "/api/agents/"),
            ("/api/agents/{name}", "/api/agents/"),
            ("/api/agents/{name}", "/api/agents/a/b"),
            ("/api/agents/{name}", "/api/agents/%ff"),
            ("/api/agents/{name}", "/api/agents/%4"),
            ("/api/agents/{name}/keys", "/api/agents/a"),
        ] {
            assert_eq!(take(pattern, path), None, "{pattern} {path}");
        }
    }

    #[test]
    fn no_two_routes_are_the_same() {
        let mut seen = std::collections::BTreeSet::new();
        for route in all() {
            assert!(seen.insert((route.method.to_string(), route.path)), "{} {}", route.method, route.path);
            assert!(route.path.starts_with('/'));
        }
    }
}
