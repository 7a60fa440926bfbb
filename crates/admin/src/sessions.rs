//! Logins to the console: a password opens a session, an access token proves it for minutes, a refresh token renews it
//! once. A refresh token that is used twice ends the session, because one of the two who sent it has stolen it.

use std::time::Duration;

use domain::{
    audit::{Event, Kind},
    operator::{Email, OperatorRole, PresentedRefresh, Session, SessionId, SessionTerms, mint_refresh},
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{Change, Rotation};
use vault::{AccessKeys, Pepper, random};

use crate::{ActingOperator, Actor, Admin, AdminError, event, redacted, sign_in::acting};

/// Pages of one browser load at once, and each comes with the cookie that the first of them renews.
const LEEWAY: SignedDuration = SignedDuration::from_secs(10);
/// Use of sessions and tokens is noted so often, not with each request: each note is a commit, and calls wait for those.
pub(crate) const NOTED_EVERY: Duration = Duration::from_secs(60);
/// How long an ended session is remembered, and a refresh token of it recognised.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(7 * 24);
/// What is kept of a browser's name, in characters.
const BROWSER_CHARACTERS_MAX: usize = 200;

/// What sessions are made and checked with.
#[derive(Clone)]
pub struct SessionKeys {
    /// What refresh tokens are looked up by.
    pub pepper: Pepper,
    /// What access tokens are signed with.
    pub access: AccessKeys,
    /// How long things last.
    pub terms: SessionTerms,
}

/// Where a login comes from, as the list of sessions shows it.
#[derive(Debug, Clone, Default)]
pub struct Client {
    /// Its address.
    pub address: String,
    /// What the browser calls itself.
    pub browser: String,
}

/// A session that was opened or renewed. The tokens are in here and nowhere else.
pub struct OpenedSession {
    /// Who it is.
    pub operator: ActingOperator,
    /// Which session.
    pub id: SessionId,
    /// Good for [`SessionTerms::access`].
    pub access: String,
    /// The one refresh token that is good from now on; `None`: another page of the same browser was given it.
    pub refresh: Option<PresentedRefresh>,
    /// The session ends then at the latest.
    pub expires_at: Timestamp,
}

/// What an access token says (RFC 7519 §4.1).
#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    sid: String,
    iat: i64,
    exp: i64,
}

impl Admin {
    /// Logs in. As long and as limited as [`sign_in`](Self::sign_in).
    ///
    /// # Errors
    /// As [`sign_in`](Self::sign_in); [`AdminError::WrongCredentials`] when the password is another one by now.
    pub async fn open_session(
        &self,
        now: Timestamp,
        keys: &SessionKeys,
        (email, password): (&Email, &str),
        client: &Client,
    ) -> Result<OpenedSession, AdminError> {
        let (operator, password_hash) = self.prove(now, email, password).await?;
        let refresh = mint_refresh(random::bytes(), random::bytes());
        let session = Session {
            id: SessionId::beginning_with(&refresh),
            operator: email.clone(),
            created_at: now,
            used_at: now,
            expires_at: now.checked_add(keys.terms.refresh).unwrap_or(Timestamp::MAX),
            ended_at: None,
            address: client.address.clone(),
            browser: client.browser.chars().take(BROWSER_CHARACTERS_MAX).collect(),
        };
        let args = json!({ "id": session.id, "email": email, "from": session.address });
        let event = event(&operator.actor(), now, "operators.login", &args);
        let mac = keys.pepper.mac_of_refresh(&refresh);
        let opened = session.clone();
        let change = Change::OpenSession { session, refresh: mac, password_hash };
        if !self.write(change, event).await? {
            return Err(AdminError::WrongCredentials);
        }
        Ok(OpenedSession {
            access: access_token(keys, now, &operator, opened.id),
            operator,
            id: opened.id,
            refresh: Some(refresh),
            expires_at: opened.expires_at,
        })
    }

    /// Renews a session with its refresh token, which is spent by that. `by_page`: a page is being loaded, and another
    /// one of the same browser may have renewed the session a moment ago.
    ///
    /// # Errors
    /// [`AdminError::SessionEnded`]: the token is unknown, the session has ended, or it ends now because the token
    /// was spent before; [`AdminError::OperatorDisabled`].
    pub async fn renew_session(
        &self,
        now: Timestamp,
        keys: &SessionKeys,
        presented: &PresentedRefresh,
        by_page: bool,
    ) -> Result<OpenedSession, AdminError> {
        let mac = keys.pepper.mac_of_refresh(presented);
        let session = self.store.session_of_refresh(&mac).await?.ok_or(AdminError::SessionEnded)?;
        // Looked at first: an ended session's tokens end nothing.
        let operator = self.holder(&session, now, keys).await?;
        let refresh = mint_refresh(random::bytes(), random::bytes());
        let new = keys.pepper.mac_of_refresh(&refresh);
        let leeway = by_page.then_some(LEEWAY);
        let refresh = match self.store.rotate_refresh((&mac, &new), now, leeway).await? {
            Rotation::Done => Some(refresh),
            Rotation::Overtaken => None,
            Rotation::Gone => return Err(AdminError::SessionEnded),
            Rotation::Reused => {
                let args = json!({ "id": session.id, "email": session.operator });
                let mut event = Event::new(now, Kind::System);
                event.action = Some("operators.session.reused".into());
                event.args = redacted(&args);
                self.write(Change::EndSession { id: session.id, at: now }, event).await?;
                return Err(AdminError::SessionEnded);
            }
        };
        Ok(OpenedSession {
            access: access_token(keys, now, &operator, session.id),
            operator,
            id: session.id,
            refresh,
            expires_at: session.expires_at,
        })
    }

    /// Whose access token this is, and of which session. Asked anew with each request: an ended session and a disabled
    /// operator have ended at once.
    ///
    /// # Errors
    /// [`AdminError::SessionEnded`], [`AdminError::OperatorDisabled`].
    pub async fn session_holder(
        &self,
        now: Timestamp,
        keys: &SessionKeys,
        access: &str,
    ) -> Result<(ActingOperator, SessionId), AdminError> {
        let claims = keys.access.open(now.as_second(), access).ok_or(AdminError::SessionEnded)?;
        let claims: Claims = serde_json::from_slice(&claims).map_err(|_| AdminError::SessionEnded)?;
        let id = SessionId::parse(&claims.sid).ok_or(AdminError::SessionEnded)?;
        if now.as_second() >= claims.exp {
            return Err(AdminError::SessionEnded);
        }
        let session = self.store.session(id).await?.ok_or(AdminError::SessionEnded)?;
        let operator = self.holder(&session, now, keys).await?;
        let unnoted = Duration::try_from(now.duration_since(session.used_at)).unwrap_or_default();
        // A login that ends sooner than that without use is noted more often.
        if unnoted >= NOTED_EVERY.min(keys.terms.idle / 4) {
            self.store.note_session_use(id, now).await?;
        }
        Ok((operator, id))
    }

    /// Who holds a session, which does not count as using it: for what goes on while nobody asks.
    ///
    /// # Errors
    /// As [`session_holder`](Self::session_holder).
    pub async fn still_holds(
        &self,
        now: Timestamp,
        keys: &SessionKeys,
        id: SessionId,
    ) -> Result<ActingOperator, AdminError> {
        let session = self.store.session(id).await?.ok_or(AdminError::SessionEnded)?;
        self.holder(&session, now, keys).await
    }

    /// Sessions that go on, the newest first: of one operator, or of all.
    ///
    /// # Errors
    /// [`AdminError::Store`].
    pub async fn list_sessions(
        &self,
        now: Timestamp,
        keys: &SessionKeys,
        operator: Option<&Email>,
    ) -> Result<Vec<Session>, AdminError> {
        let mut sessions = self.store.sessions(operator).await?;
        sessions.retain(|session| session.is_alive(now, &keys.terms));
        Ok(sessions)
    }

    /// Ends a session: one's own, or as an owner anybody's. Whether it was not ended before.
    ///
    /// # Errors
    /// [`AdminError::NoSuchSession`], also for somebody else's.
    pub async fn end_session(
        &self,
        operator: &ActingOperator,
        now: Timestamp,
        id: SessionId,
    ) -> Result<bool, AdminError> {
        let session = self.store.session(id).await?;
        let may = |session: &Session| {
            session.operator == *operator.email() || operator.role() >= OperatorRole::Owner
        };
        let session = session.filter(may).ok_or_else(|| AdminError::NoSuchSession(id.to_string()))?;
        let args = json!({ "id": id, "email": session.operator });
        let event = event(&operator.actor(), now, "operators.session.end", &args);
        self.write(Change::EndSession { id, at: now }, event).await
    }

    /// Ends the session of a refresh token, whether it is alive or not; one that nobody knows ends nothing.
    ///
    /// # Errors
    /// [`AdminError::Store`].
    pub async fn log_out(
        &self,
        now: Timestamp,
        keys: &SessionKeys,
        presented: &PresentedRefresh,
    ) -> Result<(), AdminError> {
        let mac = keys.pepper.mac_of_refresh(presented);
        let Some(session) = self.store.session_of_refresh(&mac).await? else { return Ok(()) };
        let Some(operator) = self.store.operator(&session.operator).await? else { return Ok(()) };
        let actor = Actor::operator(&operator.email, operator.role);
        let args = json!({ "id": session.id, "email": session.operator });
        let event = event(&actor, now, "operators.session.end", &args);
        self.write(Change::EndSession { id: session.id, at: now }, event).await?;
        Ok(())
    }

    /// Forgets sessions that ended a week ago.
    ///
    /// # Errors
    /// [`AdminError::Store`].
    pub async fn forget_sessions(&self, now: Timestamp) -> Result<(), AdminError> {
        let before = now.checked_sub(REMEMBERED).unwrap_or(Timestamp::MIN);
        Ok(self.store.forget_sessions(before).await?)
    }

    /// The operator of a session that goes on.
    async fn holder(
        &self,
        session: &Session,
        now: Timestamp,
        keys: &SessionKeys,
    ) -> Result<ActingOperator, AdminError> {
        if !session.is_alive(now, &keys.terms) {
            return Err(AdminError::SessionEnded);
        }
        acting(self.store.operator(&session.operator).await?.ok_or(AdminError::SessionEnded)?)
    }
}

fn access_token(keys: &SessionKeys, now: Timestamp, operator: &ActingOperator, id: SessionId) -> String {
    let iat = now.as_second();
    let claims = Claims {
        iss: "toolgate".to_owned(),
        sub: operator.email().to_string(),
        sid: id.to_string(),
        iat,
        exp: iat.saturating_add(i64::try_from(keys.terms.access.as_secs()).unwrap_or(i64::MAX)),
    };
    // Texts and numbers always write.
    keys.access.sign(iat, &serde_json::to_string(&claims).unwrap_or_default())
}
