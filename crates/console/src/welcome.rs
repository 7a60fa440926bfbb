//! The first operator of an install that has none: a link that `serve` prints, valid once and for an hour.

use std::time::Duration;

use admin::{Actor, OpenedSession};
use domain::{
    audit::push_hex,
    operator::{Email, OperatorRole},
};
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;

use crate::{Desk, asked::Asked, login, problem::Problem};

/// How long the link is good.
const GOOD_FOR: Duration = Duration::from_secs(3_600);

/// The link that is out, if one is.
#[derive(Default)]
pub struct Welcome(Mutex<Option<Invitation>>);

/// What is remembered of it: not the token.
struct Invitation {
    hash: [u8; 32],
    until: Duration,
}

impl Desk {
    /// Makes the token of a link, while there is no operator; it takes the place of an older one. `random` is used for
    /// nothing else.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn invite(&self, random: [u8; 32]) -> Result<Option<String>, admin::AdminError> {
        if !self.admin.list_operators().await?.is_empty() {
            return Ok(None);
        }
        let mut token = String::with_capacity(64);
        push_hex(&mut token, &random);
        let until = self.clock.now().monotonic + GOOD_FOR;
        *self.welcome.0.lock().await = Some(Invitation { hash: hash(&token), until });
        Ok(Some(token))
    }
}

/// Whether the link is still good: there is no operator yet, and the hour is not over.
///
/// # Errors
/// 403: it is not. 503.
pub(crate) async fn check(asked: &Asked, token: &str) -> Result<(), Problem> {
    let invitation = asked.desk.welcome.0.lock().await;
    is_good(asked, invitation.as_ref(), token).await
}

async fn is_good(asked: &Asked, invitation: Option<&Invitation>, token: &str) -> Result<(), Problem> {
    let fits = invitation.is_some_and(|out| out.hash == hash(token) && asked.now.monotonic < out.until);
    if !fits || !asked.desk.admin.list_operators().await?.is_empty() {
        return Err(Problem::forged(
            "the link was used before, has expired, or there is an operator by now; log in, or restart the gateway",
        ));
    }
    Ok(())
}

/// Makes the first owner, and logs them in. Whatever fails, the link stays good.
///
/// # Errors
/// 403, 422, 429, 503.
pub(crate) async fn accept(
    asked: &Asked,
    token: &str,
    email: &str,
    password: &str,
) -> Result<OpenedSession, Problem> {
    // Held to the end: of two who come at once, one is first.
    let mut invitation = asked.desk.welcome.0.lock().await;
    is_good(asked, invitation.as_ref(), token).await?;
    let owner = Email::parse(email).map_err(|bad| Problem::invalid(bad.to_string()))?;
    let (now, first, chosen) = (asked.now.wall, owner.clone(), password.to_owned());
    login::hashing(asked, async move |desk| {
        let actor = Actor::operator(&first, OperatorRole::Owner);
        desk.admin.create_operator(&actor, now, first, OperatorRole::Owner, &chosen).await
    })
    .await?;
    *invitation = None;
    login::log_in(asked, owner.as_str(), password).await
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}
