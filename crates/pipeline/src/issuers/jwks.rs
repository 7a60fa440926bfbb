//! A set of public keys (RFC 7517 §5), read strictly. A key that is of no use here is skipped, and a malformed one
//! does not spoil the others.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use vault::{Algorithm, PublicKey};
use wire::{
    Limits, Raw,
    json::{self, Kind},
};

/// More keys are nobody's intention.
const KEYS_MAX: usize = 100;

/// A key and what its owner says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamedKey {
    /// `kid`.
    id: Option<String>,
    /// The one algorithm that it is for, where its owner says so.
    algorithm: Option<Algorithm>,
    pub(super) key: PublicKey,
}

impl NamedKey {
    /// Whether a token that names this key, or none, may be signed with it by that algorithm.
    pub(super) fn fits(&self, named: Option<&str>, algorithm: Algorithm) -> bool {
        named.is_none_or(|named| self.id.as_deref() == Some(named))
            && self.algorithm.is_none_or(|only| only == algorithm)
            && self.key.fits(algorithm)
    }
}

/// The keys of a set that signatures can be checked with.
///
/// # Errors
/// What is wrong with the set as a whole.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<NamedKey>, &'static str> {
    let set = json::read(bytes, &Limits::of_bytes(bytes.len())).map_err(|_| "its key set cannot be read")?;
    let keys =
        set.get("keys").filter(|keys| keys.kind() == Kind::Array).ok_or("its key set has no `keys`")?;
    if keys.elements().count() > KEYS_MAX {
        return Err("its key set has more than 100 keys");
    }
    let keys: Vec<NamedKey> = keys.elements().filter_map(named_key).collect();
    if keys.is_empty() { Err("its key set has no key that can be used") } else { Ok(keys) }
}

fn named_key(jwk: Raw<'_>) -> Option<NamedKey> {
    let text = |name: &str| jwk.get(name).and_then(Raw::as_str);
    let number = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?.as_bytes()).ok();
    if jwk.get("use").is_some() && text("use")? != "sig" {
        return None;
    }
    if let Some(uses) = jwk.get("key_ops")
        && !uses.elements().any(|one| one.as_str().is_some_and(|one| one == "verify"))
    {
        return None;
    }
    let algorithm = match jwk.get("alg") {
        None => None,
        Some(name) => Some(Algorithm::parse(&name.as_str()?)?),
    };
    let point = |length: usize| {
        let (x, y) = (number("x")?, number("y")?);
        (x.len() == length && y.len() == length).then(|| [&[4], &x[..], &y[..]].concat())
    };
    let key = match (&*text("kty")?, text("crv").as_deref()) {
        ("RSA", _) => PublicKey::Rsa { n: number("n")?, e: number("e")? },
        ("EC", Some("P-256")) => PublicKey::P256(point(32)?),
        ("EC", Some("P-384")) => PublicKey::P384(point(48)?),
        ("OKP", Some("Ed25519")) => PublicKey::Ed25519(number("x").filter(|x| x.len() == 32)?),
        _ => return None,
    };
    let id = match jwk.get("kid") {
        None => None,
        Some(id) => Some(id.as_str()?.into_owned()),
    };
    let usable = algorithm.is_none_or(|only| key.fits(only));
    usable.then_some(NamedKey { id, algorithm, key })
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
    const Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";

    #[test]
    fn what_is_of_no_use_is_left_out_and_spoils_nothing() {
        let ec = |more: &str| format!(r#"{{"kty":"EC","crv":"P-256","x":"{X}","y":"{Y}"{more}}}"#);
        let good = ec(r#","kid":"good","use":"sig","alg":"ES256","x5u":"http://evil""#);
        for odd in [
            ec(r#","kid":"a","use":"enc""#),
            ec(r#","kid":"a","key_ops":["sign"]"#),
            ec(r#","kid":"a","alg":"RS256""#),
            ec(r#","kid":"a","alg":"HS256""#),
            ec(r#","kid":7"#),
            ec("").replace(Y, "AQAB"),
            r#"{"kty":"oct","k":"AQAB","kid":"a"}"#.to_owned(),
            r#"{"kty":"RSA","n":"AQAB","kid":"a"}"#.to_owned(),
            r#"{"kty":"OKP","crv":"Ed25519","x":"AQAB"}"#.to_owned(),
            r#"{"kty":"EC","crv":"secp256k1","x":"AQAB","y":"AQAB"}"#.to_owned(),
            "7".to_owned(),
        ] {
            assert!(read(format!(r#"{{"keys":[{odd}]}}"#).as_bytes()).is_err(), "{odd}");
            let keys = read(format!(r#"{{"keys":[{odd},{good}]}}"#).as_bytes()).unwrap();
            assert_eq!(keys.len(), 1, "{odd}");
            assert!(keys[0].fits(Some("good"), Algorithm::Es256) && keys[0].fits(None, Algorithm::Es256));
            assert!(!keys[0].fits(Some("bad"), Algorithm::Es256) && !keys[0].fits(None, Algorithm::Es384));
        }
        for bad in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[]}"#, r#"{"keys":[],"keys":[]}"#] {
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
        let many = vec![good; 101].join(",");
        assert!(read(format!(r#"{{"keys":[{many}]}}"#).as_bytes()).is_err());
    }
}
