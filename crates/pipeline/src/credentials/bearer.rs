//! `bearer`: `Authorization: Bearer VALUE` (RFC 6750 §2.1).

use std::sync::Arc;

use http::header;
use vault::Secret;

use super::Injection;

pub(super) fn add(value: Arc<Secret>, to: &mut Injection) -> Result<(), String> {
    to.set_header(header::AUTHORIZATION, &[b"Bearer ", value.reveal()])?;
    to.secrets.push(value);
    Ok(())
}
