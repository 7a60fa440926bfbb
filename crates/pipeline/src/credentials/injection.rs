//! What is added to one call. It holds secrets, so it has no `Debug`.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use domain::stop::Fault;
use http::{HeaderMap, HeaderName, HeaderValue, request};
use jiff::Timestamp;
use vault::Secret;
use wire::mask::Masker;
use zeroize::Zeroizing;

use super::{ClientIdentity, aws_sigv4::Signer, query};

/// What the credentials of a service add to one call.
#[derive(Clone, Default)]
pub(crate) struct Injection {
    headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) query: Vec<query::Parameter>,
    pub(super) signer: Option<Arc<Signer>>,
    /// Who connections say they come from, where the server asks.
    pub(crate) identity: Option<Arc<ClientIdentity>>,
    /// Variables for a child's environment.
    pub(crate) environment: Vec<(String, Arc<Secret>)>,
    /// The versions of the values in it, so that connections and children of older values are not used again. An
    /// OAuth grant is not among them: it belongs to no connection, and changes by itself.
    pub(crate) versions: Vec<u64>,
    /// Masks in answers what was added; `None` where nothing of it can be masked.
    pub(crate) masker: Option<Masker>,
    /// What the masker is made of.
    pub(super) secrets: Vec<Arc<Secret>>,
    /// Set once the service refused the token in it.
    pub(super) spent: Option<Arc<AtomicBool>>,
}

impl Injection {
    /// Adds everything to a request that is otherwise complete. `body` is there where it is known whole; `at` is the
    /// time of signatures.
    ///
    /// What the agent sent under the same names is replaced.
    ///
    /// # Errors
    /// [`Fault::CredentialFailed`] when a signature needs the body and it is not there, or the address gets too long.
    pub(crate) fn apply(
        &self,
        request: &mut request::Parts,
        body: Option<&[u8]>,
        at: Timestamp,
    ) -> Result<(), Fault> {
        let failed = |why: &str| Fault::CredentialFailed(why.into());
        for (name, value) in &self.headers {
            drop_lookalikes(&mut request.headers, name);
            request.headers.insert(name, value.clone());
        }
        if !self.query.is_empty() {
            request.uri = query::extended(&request.uri, &self.query)
                .ok_or_else(|| failed("the address with the credential in it is too long"))?;
        }
        if let Some(signer) = &self.signer {
            let body =
                body.ok_or_else(|| failed("the signature covers the body, which is not there whole"))?;
            signer.sign(request, body, at).map_err(|_| failed("the signature does not fit into a header"))?;
        }
        Ok(())
    }

    /// Makes the masker, once everything is in: it takes longer than a call may.
    pub(super) fn cover(&mut self) -> Result<(), String> {
        let secrets: Vec<&[u8]> = self.secrets.iter().map(|secret| secret.reveal()).collect();
        self.masker = Masker::new(&secrets).map_err(|too_long| too_long.to_string())?;
        Ok(())
    }

    /// The service answered 401: a token in this injection is not used for the calls that follow.
    pub(crate) fn refused(&self) {
        if let Some(spent) = &self.spent {
            spent.store(true, Ordering::Relaxed);
        }
    }

    /// A header that is added; only one credential may write it.
    pub(super) fn set_header(&mut self, name: HeaderName, parts: &[&[u8]]) -> Result<(), String> {
        let by_signature = self.signer.is_some() && name == http::header::AUTHORIZATION;
        if self.has_header(&name) || by_signature {
            return Err(format!("another credential writes the header `{name}`"));
        }
        self.headers.push((name, sensitive(parts)?));
        Ok(())
    }

    pub(super) fn has_header(&self, name: &HeaderName) -> bool {
        self.headers.iter().any(|(known, _)| known == name)
    }
}

/// A header value that is never shown, nor kept in HTTP/2's compression tables (RFC 7541 §7.1.3).
pub(crate) fn sensitive(parts: &[&[u8]]) -> Result<HeaderValue, String> {
    let bytes = Zeroizing::new(parts.concat());
    let mut value =
        HeaderValue::from_bytes(&bytes).map_err(|_| "its value has a character that no header can carry")?;
    value.set_sensitive(true);
    Ok(value)
}

/// Removes headers that an upstream might take for `name`, as CGI (RFC 3875 §4.1.18) turns `-` into `_`.
fn drop_lookalikes(headers: &mut HeaderMap, name: &HeaderName) {
    if !name.as_str().contains(['-', '_']) {
        return;
    }
    let folded = name.as_str().replace('-', "_");
    let alike: Vec<HeaderName> =
        headers.keys().filter(|other| other.as_str().replace('-', "_") == folded).cloned().collect();
    for other in alike {
        headers.remove(other);
    }
}
