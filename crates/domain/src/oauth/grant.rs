//! What a token whose signature is proven says (RFC 9068 §4, RFC 7519 §4.1), and whether that is enough.

use jiff::{SignedDuration, Timestamp};
use wire::{Raw, json::Kind, jws::Jws};

use super::Terms;
use crate::names::AgentName;

/// How far clocks may be apart (seconds): a token is taken for so long after `exp`, and before `nbf`.
pub const LEEWAY: i64 = 30;
/// The longest subject (bytes).
const SUBJECT_MAX: usize = 512;
/// How many audiences a token may name.
const AUDIENCES_MAX: usize = 64;
/// What only ID tokens have (OpenID Connect Core §2, §3.3.2.11): they say who somebody is, not what may be done.
const OF_ID_TOKENS: [&str; 3] = ["nonce", "at_hash", "c_hash"];

/// Why a token does not open the gate. Agents are told none of this; the trail is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenFault {
    /// It cannot be read in exactly one way.
    Unreadable,
    /// No issuer of this name is configured.
    UnknownIssuer,
    /// It wants to be checked in a way that is not taken: `none`, an HMAC, anything that is unknown.
    Algorithm,
    /// Its issuer has no such key.
    UnknownKey,
    /// Its signature is wrong.
    Signature,
    /// It is something else than an access token.
    NotAccess,
    /// It may be used only with a proof that we cannot check (`cnf`: RFC 9449, RFC 8705).
    Bound,
    /// It lacks a claim that it must have, or has it in another form.
    Claims,
    /// Its time has passed.
    Expired,
    /// Its time has not come.
    NotYet,
    /// It is for another endpoint.
    Audience,
    /// It stands for no agent, or for several.
    NoAgent,
    /// The issuer under which the call was held is not configured any more, or on other terms.
    IssuerGone,
}

impl TokenFault {
    /// A few words for the trail.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "token cannot be read",
            Self::UnknownIssuer => "token of an unknown issuer",
            Self::Algorithm => "token with an algorithm that is not taken",
            Self::UnknownKey => "token with an unknown key",
            Self::Signature => "token with a wrong signature",
            Self::NotAccess => "not an access token",
            Self::Bound => "token that needs a proof",
            Self::Claims => "token without a claim it needs",
            Self::Expired => "token expired",
            Self::NotYet => "token not good yet",
            Self::Audience => "token for another endpoint",
            Self::NoAgent => "token of no agent",
            Self::IssuerGone => "issuer not configured any more",
        }
    }
}

/// What a token grants: whom it stands for, where, and from when until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The agent; whether there is such a one is for the world to say.
    pub agent: AgentName,
    /// `sub`: who the issuer says it is.
    pub subject: String,
    /// It is good before this moment: `exp` and the [leeway](LEEWAY).
    pub expires_at: Timestamp,
    /// Whether it has the scope that the terms ask for.
    pub has_scope: bool,
    audiences: Vec<String>,
    starts_at: Timestamp,
}

impl Grant {
    /// Reads the claims of a token that its issuer has signed.
    ///
    /// # Errors
    /// The [`TokenFault`]. When it is good, and where, is asked [later](Grant::check).
    pub fn read(jws: &Jws<'_>, terms: &Terms) -> Result<Self, TokenFault> {
        check_kind(jws.kind())?;
        let claims = jws.claims().ok_or(TokenFault::Unreadable)?;
        if text(claims, "iss")? != terms.issuer {
            return Err(TokenFault::UnknownIssuer);
        }
        if OF_ID_TOKENS.iter().any(|name| claims.get(name).is_some()) {
            return Err(TokenFault::NotAccess);
        }
        if claims.get("cnf").is_some() {
            return Err(TokenFault::Bound);
        }
        let subject = text(claims, "sub")?;
        if subject.is_empty() || subject.len() > SUBJECT_MAX {
            return Err(TokenFault::Claims);
        }
        let ends = moment(claims, "exp")?.ok_or(TokenFault::Claims)?;
        let starts = moment(claims, "nbf")?.max(moment(claims, "iat")?);
        Ok(Self {
            agent: terms.agent.agent(claims).ok_or(TokenFault::NoAgent)?,
            subject,
            expires_at: shifted(ends, LEEWAY),
            starts_at: starts.map_or(Timestamp::MIN, |starts| shifted(starts, -LEEWAY)),
            has_scope: terms.scope.as_deref().is_none_or(|scope| has_scope(claims, scope)),
            audiences: audiences(claims)?,
        })
    }

    /// Whether it is good now, for this audience.
    ///
    /// # Errors
    /// The [`TokenFault`].
    pub fn check(&self, audience: &str, now: Timestamp) -> Result<(), TokenFault> {
        // One resource has two spellings where nothing but a slash is behind the host.
        let named = |name: &String| {
            name.strip_suffix('/').unwrap_or(name) == audience.strip_suffix('/').unwrap_or(audience)
        };
        if !self.audiences.iter().any(named) {
            Err(TokenFault::Audience)
        } else if now >= self.expires_at {
            Err(TokenFault::Expired)
        } else if now < self.starts_at {
            Err(TokenFault::NotYet)
        } else {
            Ok(())
        }
    }
}

/// `at+jwt` (RFC 9068 §2.1), or the `JWT` that most providers still write, or nothing.
fn check_kind(kind: Option<&str>) -> Result<(), TokenFault> {
    let Some(kind) = kind else { return Ok(()) };
    // The prefix may be left out (RFC 7515 §4.1.9).
    let kind = kind.to_ascii_lowercase();
    let kind = kind.strip_prefix("application/").unwrap_or(&kind);
    if ["at+jwt", "jwt"].contains(&kind) { Ok(()) } else { Err(TokenFault::NotAccess) }
}

fn text(claims: Raw<'_>, name: &str) -> Result<String, TokenFault> {
    let value = claims.get(name).and_then(Raw::as_str);
    value.map(std::borrow::Cow::into_owned).ok_or(TokenFault::Claims)
}

/// A `NumericDate` (RFC 7519 §2) in whole seconds.
fn moment(claims: Raw<'_>, name: &str) -> Result<Option<Timestamp>, TokenFault> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let digits = value.text().split_once('.').map_or(value.text(), |(whole, _)| whole);
    if value.kind() != Kind::Number || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(TokenFault::Claims);
    }
    let seconds = digits.parse().map_err(|_| TokenFault::Claims)?;
    Timestamp::from_second(seconds).map(Some).map_err(|_| TokenFault::Claims)
}

fn shifted(moment: Timestamp, seconds: i64) -> Timestamp {
    let end = if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
    moment.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(end)
}

/// A text, or a list of texts (RFC 7519 §4.1.3).
fn audiences(claims: Raw<'_>) -> Result<Vec<String>, TokenFault> {
    let value = claims.get("aud").ok_or(TokenFault::Claims)?;
    let texts: Option<Vec<String>> = match value.kind() {
        Kind::Array => {
            value.elements().take(AUDIENCES_MAX).map(|one| Some(one.as_str()?.into_owned())).collect()
        }
        _ => value.as_str().map(|one| vec![one.into_owned()]),
    };
    texts.ok_or(TokenFault::Claims)
}

/// `scope` as RFC 9068 §2.2.3 has it; `scp`, and lists, as some providers do.
fn has_scope(claims: Raw<'_>, wanted: &str) -> bool {
    ["scope", "scp"].into_iter().filter_map(|name| claims.get(name)).any(|value| match value.kind() {
        Kind::Array => value.elements().any(|one| one.as_str().is_some_and(|one| one == wanted)),
        _ => value.as_str().is_some_and(|text| text.split(' ').any(|one| one == wanted)),
    })
}

#[cfg(test)]
mod tests;
