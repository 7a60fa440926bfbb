//! `header`: a header of the service's own, such as `X-Token: Token VALUE`.

use std::sync::Arc;

use http::HeaderName;
use vault::Secret;

use super::Injection;

/// `format` has one `{}`, where the value goes.
pub(super) fn add(name: &str, format: &str, value: Arc<Secret>, to: &mut Injection) -> Result<(), String> {
    let name: HeaderName =
        name.parse().map_err(|_| format!("`{}` is no header name", name.escape_debug()))?;
    let (before, after) = format.split_once("{}").ok_or("its format has no `{}`")?;
    to.set_header(name, &[before.as_bytes(), value.reveal(), after.as_bytes()])?;
    to.secrets.push(value);
    Ok(())
}
