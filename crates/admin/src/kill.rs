//! The kill switch: on, off, and how it stands.

use domain::kill::{Kill, KillReason};
use jiff::Timestamp;
use serde_json::json;
use store::Change;

use crate::{Actor, Admin, AdminError, event};

impl Admin {
    /// The kill switch; `None` while it is off.
    ///
    /// # Errors
    /// [`AdminError::Store`].
    pub async fn kill(&self) -> Result<Option<Kill>, AdminError> {
        Ok(self.store.kill().await?)
    }

    /// Turns the kill switch on: within a second no gateway on this store forwards anything. Where it is on already
    /// it stays as it was. Returns how it stands now, and whether that is new.
    ///
    /// # Errors
    /// [`AdminError::Store`]; [`AdminError::ChangedMeanwhile`] when somebody else turned it on and off again.
    pub async fn turn_kill_on(
        &self,
        actor: &Actor,
        now: Timestamp,
        reason: KillReason,
    ) -> Result<(Kill, bool), AdminError> {
        let event = event(actor, now, "kill.on", &json!({ "reason": reason }));
        let kill = Kill { since: now, reason, by: actor.as_str().to_owned() };
        if self.write(Change::TurnKillOn(kill.clone()), event).await? {
            return Ok((kill, true));
        }
        let known = self.store.kill().await?;
        Ok((known.ok_or_else(|| AdminError::ChangedMeanwhile("the kill switch".into()))?, false))
    }

    /// Turns the kill switch off; returns the one that was lifted, `None` when it was off already.
    ///
    /// # Errors
    /// [`AdminError::Store`]; [`AdminError::ChangedMeanwhile`] when it is another one by now.
    pub async fn turn_kill_off(&self, actor: &Actor, now: Timestamp) -> Result<Option<Kill>, AdminError> {
        let Some(kill) = self.store.kill().await? else { return Ok(None) };
        let args = json!({ "since": kill.since.to_string(), "by": kill.by, "reason": kill.reason });
        let event = event(actor, now, "kill.off", &args);
        if self.write(Change::TurnKillOff(kill.clone()), event).await? {
            return Ok(Some(kill));
        }
        Err(AdminError::ChangedMeanwhile("the kill switch".into()))
    }
}
