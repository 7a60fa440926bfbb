//! `query`: a parameter of the query. Parameters of the same name that the agent sent are cut, however they are
//! spelled.

use std::sync::Arc;

use http::{Uri, uri::PathAndQuery};
use vault::Secret;
use wire::percent;

use super::Injection;

/// A parameter that is added.
#[derive(Clone)]
pub(super) struct Parameter {
    name: String,
    /// `name=value`, encoded.
    pair: Arc<Secret>,
}

pub(super) fn add(name: &str, value: Arc<Secret>, to: &mut Injection) -> Result<(), String> {
    if to.query.iter().any(|parameter| parameter.name == name) {
        return Err(format!("another credential writes the query parameter `{}`", name.escape_debug()));
    }
    let pair = format!("{}={}", percent::encode(name.as_bytes()), percent::encode(value.reveal()));
    to.query.push(Parameter { name: name.to_owned(), pair: Arc::new(Secret::new(pair.into_bytes())) });
    to.secrets.push(value);
    Ok(())
}

/// The address with the parameters behind its own; `None` when it gets too long.
pub(super) fn extended(uri: &Uri, parameters: &[Parameter]) -> Option<Uri> {
    let own = uri.query().unwrap_or_default().split('&').filter(|pair| {
        let name = percent::decode_query(pair.split('=').next().unwrap_or_default());
        !pair.is_empty() && parameters.iter().all(|parameter| parameter.name.as_bytes() != name)
    });
    let added = parameters.iter().filter_map(|parameter| std::str::from_utf8(parameter.pair.reveal()).ok());
    let query: Vec<&str> = own.chain(added).collect();
    let mut parts = uri.clone().into_parts();
    let path_and_query = format!("{}?{}", uri.path(), query.join("&"));
    parts.path_and_query = Some(PathAndQuery::try_from(path_and_query).ok()?);
    Uri::from_parts(parts).ok()
}
