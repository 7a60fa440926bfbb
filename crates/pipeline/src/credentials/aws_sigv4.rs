//! `aws_sigv4`: AWS Signature Version 4 in the `Authorization` header (AWS IAM User Guide, "Create a signed AWS API
//! request"). It signs last, over what is actually sent, and therefore needs the whole body.

use std::{collections::BTreeMap, sync::Arc};

use aws_lc_rs::{
    digest::{SHA256, digest},
    hmac::{self, HMAC_SHA256},
};
use domain::credential::AwsValue;
use http::{HeaderName, HeaderValue, Uri, header, request};
use jiff::Timestamp;
use vault::Secret;
use wire::percent;
use zeroize::Zeroizing;

use super::{Injection, injection::sensitive};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const BODY_HASH: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
/// Signed besides every `x-amz-…` where they are sent. Others may change on the way.
const SIGNED: [HeaderName; 4] =
    [header::CONTENT_TYPE, HeaderName::from_static("content-md5"), header::DATE, header::RANGE];

/// Signs requests with one access key.
pub(super) struct Signer {
    access_key_id: String,
    region: String,
    service: String,
    /// `AWS4` and the secret access key.
    key: Secret,
    session_token: Option<HeaderValue>,
}

pub(super) fn add(
    access_key_id: &str,
    region: &str,
    service: &str,
    value: &Secret,
    to: &mut Injection,
) -> Result<(), String> {
    if to.signer.is_some() || to.has_header(&header::AUTHORIZATION) {
        return Err("another credential writes the header `authorization`".into());
    }
    let AwsValue { secret_access_key, session_token } =
        AwsValue::read(value.reveal()).map_err(|bad| bad.to_string())?;
    to.secrets.push(Arc::new(Secret::new(secret_access_key.as_bytes().to_vec())));
    let session_token = match session_token {
        None => None,
        Some(token) => {
            to.secrets.push(Arc::new(Secret::new(token.as_bytes().to_vec())));
            Some(sensitive(&[token.as_bytes()])?)
        }
    };
    to.signer = Some(Arc::new(Signer {
        access_key_id: access_key_id.into(),
        region: region.into(),
        service: service.into(),
        key: Secret::new([b"AWS4", secret_access_key.as_bytes()].concat()),
        session_token,
    }));
    Ok(())
}

impl Signer {
    /// Adds date, session token and signature. What the agent sent under these names is replaced.
    pub(super) fn sign(
        &self,
        parts: &mut request::Parts,
        body: &[u8],
        at: Timestamp,
    ) -> Result<(), http::header::InvalidHeaderValue> {
        let (date, stamp) = (at.strftime("%Y%m%d").to_string(), at.strftime("%Y%m%dT%H%M%SZ").to_string());
        let body_hash = hex(digest(&SHA256, body).as_ref());
        for ours in [header::AUTHORIZATION, SECURITY_TOKEN, BODY_HASH] {
            parts.headers.remove(ours);
        }
        parts.headers.insert(DATE, HeaderValue::try_from(&stamp)?);
        if let Some(token) = &self.session_token {
            parts.headers.insert(SECURITY_TOKEN, token.clone());
        }
        if self.is_s3() {
            parts.headers.insert(BODY_HASH, HeaderValue::try_from(&body_hash)?);
        }

        let headers = canonical_headers(parts);
        let names = headers.keys().map(String::as_str).collect::<Vec<_>>().join(";");
        let mut request: Vec<u8> = [
            parts.method.as_str(),
            &self.canonical_path(parts.uri.path()),
            &canonical_query(parts.uri.query().unwrap_or_default()),
            "",
        ]
        .join("\n")
        .into();
        for (name, value) in &headers {
            request.extend_from_slice(name.as_bytes());
            request.push(b':');
            request.extend_from_slice(value);
            request.push(b'\n');
        }
        request.extend_from_slice(format!("\n{names}\n{body_hash}").as_bytes());

        let scope = format!("{date}/{}/{}/aws4_request", self.region, self.service);
        let to_sign = format!("{ALGORITHM}\n{stamp}\n{scope}\n{}", hex(digest(&SHA256, &request).as_ref()));
        let signature = hex(&mac(&self.signing_key(&date), to_sign.as_bytes()));
        let value = format!(
            "{ALGORITHM} Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.access_key_id
        );
        let mut value = HeaderValue::try_from(value)?;
        value.set_sensitive(true);
        parts.headers.insert(header::AUTHORIZATION, value);
        Ok(())
    }

    fn signing_key(&self, date: &str) -> Zeroizing<Vec<u8>> {
        let mut key = Zeroizing::new(self.key.reveal().to_vec());
        for part in [date, &self.region, &self.service, "aws4_request"] {
            key = mac(&key, part.as_bytes());
        }
        key
    }

    fn is_s3(&self) -> bool {
        self.service.starts_with("s3")
    }

    /// S3 signs the path as it decodes it. Every other service signs it as it was sent, encoded once more, with
    /// empty segments left out. Dot segments never come this far.
    fn canonical_path(&self, path: &str) -> String {
        if self.is_s3() {
            return percent::encode_path(&percent::decode(path));
        }
        let mut whole = String::new();
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            whole.push('/');
            whole.push_str(segment);
        }
        if path.ends_with('/') || whole.is_empty() {
            whole.push('/');
        }
        percent::encode_path(whole.as_bytes())
    }
}

/// Names and values decoded as forms are, encoded again, and sorted by their encoded text.
fn canonical_query(query: &str) -> String {
    let again = |text: &str| percent::encode(&percent::decode_query(text));
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (again(name), again(value)))
        .collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// Host, `x-amz-…` and the headers of [`SIGNED`], lower case and sorted; blanks inside values folded into one, and
/// headers of one name joined by commas.
fn canonical_headers(parts: &request::Parts) -> BTreeMap<String, Vec<u8>> {
    let mut headers = BTreeMap::from([("host".to_owned(), host(&parts.uri).into_bytes())]);
    for (name, value) in &parts.headers {
        if !SIGNED.contains(name) && !name.as_str().starts_with("x-amz-") {
            continue;
        }
        let words: Vec<&[u8]> =
            value.as_bytes().split(|byte| *byte == b' ').filter(|word| !word.is_empty()).collect();
        let joined = headers.entry(name.as_str().to_owned()).or_default();
        if !joined.is_empty() {
            joined.push(b',');
        }
        joined.extend_from_slice(&words.join(&b' '));
    }
    headers
}

/// The `Host` that hyper sends: the scheme's own port is left out.
fn host(uri: &Uri) -> String {
    let own = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    let host = uri.host().unwrap_or_default();
    match uri.port_u16() {
        Some(port) if port != own => format!("{host}:{port}"),
        _ => host.to_owned(),
    }
}

fn mac(key: &[u8], text: &[u8]) -> Zeroizing<Vec<u8>> {
    let tag = hmac::sign(&hmac::Key::new(HMAC_SHA256, key), text);
    Zeroizing::new(tag.as_ref().to_vec())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
