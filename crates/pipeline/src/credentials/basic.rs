//! `basic`: `Authorization: Basic …` with user and password (RFC 7617 §2).

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::header;
use vault::Secret;
use zeroize::Zeroizing;

use super::Injection;

/// Where the slot names no user, the value is `user:password`.
pub(super) fn add(username: Option<&str>, value: Arc<Secret>, to: &mut Injection) -> Result<(), String> {
    let (pair, password) = match username {
        Some(user) => (Zeroizing::new([user.as_bytes(), b":", value.reveal()].concat()), Arc::clone(&value)),
        None => {
            let mut parts = value.reveal().splitn(2, |byte| *byte == b':');
            let password = parts.next().and(parts.next()).ok_or("its value is not `user:password`")?;
            (Zeroizing::new(value.reveal().to_vec()), Arc::new(Secret::new(password.to_vec())))
        }
    };
    let encoded = Zeroizing::new(STANDARD.encode(&*pair));
    to.set_header(header::AUTHORIZATION, &[b"Basic ", encoded.as_bytes()])?;
    to.secrets.extend([password, Arc::new(Secret::new(encoded.as_bytes().to_vec()))]);
    Ok(())
}
