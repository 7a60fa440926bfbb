//! Who decides: commands that need an operator ask here. A token of the environment, or a password at the terminal.

use admin::{ActingOperator, AdminError, Sees};
use anyhow::{anyhow, bail};
use dialoguer::Input;
use domain::operator::{Email, PresentedToken};
use zeroize::Zeroizing;

use super::password::known_password;
use crate::commands::Context;

/// The variable that a script's token is in.
const TOKEN_VARIABLE: &str = "TOOLGATE_OPERATOR_TOKEN";
/// How often a terminal asks, before it gives up.
const ASKED_MAX: usize = 3;

impl Context {
    /// The operator who answers for this command: whose token `$TOOLGATE_OPERATOR_TOKEN` holds, else who gives their
    /// password at the terminal. Being able to read the home is not enough. It runs its own event loop, so it is asked
    /// outside of [`block_on`](Self::block_on).
    ///
    /// # Errors
    /// When the token is none of ours, expired or revoked, or the password wrong; when the operator is disabled; when
    /// there is neither a token nor a terminal.
    pub fn operator(&self) -> anyhow::Result<ActingOperator> {
        if let Some(text) = self.variable(TOKEN_VARIABLE).map(Zeroizing::new) {
            return self.holder_of(&text);
        }
        if !self.output.can_ask() {
            bail!(
                "this needs an operator, and nobody can be asked here; set {TOKEN_VARIABLE} to a token: {}",
                self.invocation.command("operators token EMAIL")
            );
        }
        let mut asked = 0;
        loop {
            asked += 1;
            match self.ask() {
                Err(error) if asked < ASKED_MAX && is_wrong(&error) => {
                    self.output.complain("e-mail or password are wrong; once more");
                }
                other => return other,
            }
        }
    }

    /// How much of a call whoever runs this command may see: as much as the holder of `$TOOLGATE_OPERATOR_TOKEN`;
    /// without one all, because they can read the home.
    ///
    /// # Errors
    /// When the token is none of ours, expired or revoked, or its operator is disabled.
    pub fn sees(&self) -> anyhow::Result<Sees> {
        match self.variable(TOKEN_VARIABLE) {
            Some(_) => Ok(Sees::of(self.operator()?.role())),
            None => Ok(Sees::Whole),
        }
    }

    fn holder_of(&self, text: &str) -> anyhow::Result<ActingOperator> {
        let Some(token) = PresentedToken::parse(text) else {
            let what = match text.starts_with("agt_") {
                true => "an agent's key, which decides nothing",
                false => "no operator token",
            };
            let make = self.invocation.command("operators token EMAIL");
            return Err(anyhow!("this is {what} ({TOKEN_VARIABLE}); make one: {make}"));
        };
        self.block_on(async {
            let desk = self.desk().await?;
            let pepper = desk.pepper().await?;
            let operator = desk.admin.sign_in_with_token(self.now().wall, &pepper, &token).await?;
            desk.close().await;
            Ok(operator)
        })
    }

    fn ask(&self) -> anyhow::Result<ActingOperator> {
        let typed: String = Input::new()
            .with_prompt("Operator")
            .validate_with(|typed: &String| match Email::parse(typed) {
                Ok(_) => Ok(()),
                Err(_) => Err("this is no e-mail address"),
            })
            .interact_text()?;
        let email = Email::parse(&typed)?;
        let password = known_password(&self.output, false)?;
        self.block_on(async {
            let desk = self.desk().await?;
            let operator = desk.admin.sign_in(self.now().wall, &email, &password).await?;
            desk.close().await;
            Ok(operator)
        })
    }
}

fn is_wrong(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(AdminError::WrongCredentials))
}
