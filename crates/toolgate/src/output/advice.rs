//! What an operator's wish came to nothing for, in the words of the command line: where `admin` says what to look at, it
//! names the flag and the command.

use std::io;

use admin::AdminError;
use domain::{credential::BadValue, system::system_words};

/// The sentence of an error. Context that was added on the way says more than what it stands around, and is kept.
pub fn sentence(error: &anyhow::Error) -> String {
    let outermost = error.chain().next();
    // All that commands write without saying where is their answer.
    if let Some(fault) = outermost.and_then(|error| error.downcast_ref::<io::Error>()) {
        return format!(
            "the answer cannot be written (stdout, {}); give it another place",
            system_words(fault)
        );
    }
    let admin = outermost.and_then(|error| error.downcast_ref()).and_then(in_commands);
    admin
        .or_else(|| outermost.and_then(|error| error.downcast_ref()).map(value_in_commands))
        .unwrap_or_else(|| error.to_string())
}

/// `None`: its own words do.
fn in_commands(error: &AdminError) -> Option<String> {
    use AdminError as E;
    let near = |near: &Option<String>| match near {
        Some(near) => format!("did you mean `{near}`? "),
        None => String::new(),
    };
    Some(match error {
        E::NoSuchServiceInScope { name, near: hint } => {
            format!("there is no service `{name}` (--scope); {}all: toolgate services list", near(hint))
        }
        E::NoSuchService { name, near: hint } => {
            format!("there is no service `{name}`; {}all: toolgate services list", near(hint))
        }
        E::NoSuchCredential { service, name, near: hint } => {
            format!("service `{service}` has no credential `{name}`; {}to add it, say its --kind", near(hint))
        }
        E::NoValue { service, name } => format!(
            "credential `{name}` of `{service}` has no value; all: toolgate credentials list {service}"
        ),
        E::BadValue(bad) => value_in_commands(bad),
        E::NoSuchAgent { name, near: hint } => {
            format!("there is no agent `{name}`; {}all: toolgate agents list", near(hint))
        }
        E::OtherRole { agent, has, asked } => format!(
            "agent `{agent}` has role `{has}`, not `{asked}`; to change it: toolgate agents update {agent} --role {asked}"
        ),
        E::OtherScope { agent, has, asked } => format!(
            "agent `{agent}` has scope `{has}`, not `{asked}`; to change it: toolgate agents update {agent} --scope {asked}"
        ),
        E::AgentDeleted(name) => format!(
            "agent `{name}` was deleted for good, and its name is not given again; make one of another name: \
             toolgate keys create AGENT"
        ),
        E::OperatorExists(email) => format!(
            "there is an operator `{email}` already, and nothing was changed; for another password: toolgate operators reset {email}"
        ),
        E::ExpiresInThePast => {
            "the key would expire before it is made (--expires); give a later time".to_owned()
        }
        E::NoSuchKey(id) => format!("there is no key `{id}`; all: toolgate keys list"),
        E::NoSuchOperator { email, near: hint } => {
            format!("there is no operator `{email}`; {}all: toolgate operators list", near(hint))
        }
        E::LastOwner(email) => format!(
            "`{email}` is the last active owner, and without one nobody could change anything; make another first: \
             toolgate operators create EMAIL --role owner"
        ),
        E::WrongCredentials => {
            "e-mail or password are wrong; repeat, or set another: toolgate operators reset EMAIL".to_owned()
        }
        E::OperatorDisabled(email) => {
            format!("operator `{email}` is disabled; to let them in again: toolgate operators enable {email}")
        }
        E::UnknownToken(id) => {
            format!("there is no operator token `{id}` here; make one: toolgate operators token EMAIL")
        }
        E::TokenRevoked { id, at } => {
            format!(
                "the operator token `{id}` was revoked ({at}); make another: toolgate operators token EMAIL"
            )
        }
        E::TokenExpired { id, at } => {
            format!(
                "the operator token `{id}` has expired ({at}); make another: toolgate operators token EMAIL"
            )
        }
        E::NoSuchToken(id) => format!("there is no operator token `{id}`; all: toolgate operators list"),
        E::NoSuchApproval(id) => format!("there is no approval `{id}`; all: toolgate approvals list"),
        E::NoSuchCall(id) => format!("no one call starts with `{id}`; all: toolgate audit list"),
        E::OtherDigest(id) => {
            format!(
                "the digest is not that of {id} (--digest); look at it again: toolgate approvals show {id}"
            )
        }
        E::NoReason => "there is no reason (--reason); say in a few words why, the agent is told".to_owned(),
        E::ReasonTooLong(characters) => format!(
            "the reason has {characters} characters (--reason); use {} or fewer",
            admin::REASON_CHARACTERS_MAX
        ),
        E::NoTools(service) => format!(
            "service `{service}` is an HTTP API and has no tools; see it with: toolgate services show {service}"
        ),
        E::NoSuchTool { service, name, near: hint } => format!(
            "no list of `{service}` has shown a tool `{name}`; {}all: toolgate services tools {service}",
            near(hint)
        ),
        E::ChangedMeanwhile(what) => {
            format!("somebody else changed {what} at the same moment; look, and repeat the command")
        }
        _ => return None,
    })
}

fn value_in_commands(bad: &BadValue) -> String {
    match bad {
        BadValue::Empty => "the value is empty; type it at the prompt, or give it on stdin".to_owned(),
        BadValue::NoColon => {
            "the value is not `user:password`; give both, or name the user with --username".to_owned()
        }
        BadValue::NoClientSecret => {
            "the client's secret is missing; give {\"refresh_token\": …, \"client_secret\": …}, or --client-auth none"
                .to_owned()
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn a_terminal_is_told_the_command_and_nobody_else_is() {
        let error = || AdminError::NoSuchKey("zz".to_owned());
        assert_eq!(error().to_string(), "there is no key `zz`; look at the keys of the agents");
        assert_eq!(sentence(&error().into()), "there is no key `zz`; all: toolgate keys list");
        let around = Err::<(), _>(error()).context("what stands around it").unwrap_err();
        assert_eq!(sentence(&around), "what stands around it");
        assert_eq!(
            sentence(&BadValue::Empty.into()),
            "the value is empty; type it at the prompt, or give it on stdin"
        );
        assert_eq!(
            sentence(&io::Error::from_raw_os_error(28).into()),
            "the answer cannot be written (stdout, no space left on device); give it another place"
        );
        let other = AdminError::SessionEnded;
        assert_eq!(sentence(&other.into()), "the session has ended; log in again");
    }
}
