//! Settings as variables: which names of the environment are ours, and the `.env` of the working directory.

use std::collections::BTreeMap;

use domain::yaml::did_you_mean;

use super::{sources::Faults, table::SETTINGS};

/// A name that nobody reads is a mistake when it looks like a setting; other programs may have their own.
///
/// # Errors
/// One sentence with the nearest setting.
pub fn refuse_unknown(name: &str, rest: &str) -> Result<(), Faults> {
    // The last two are what people call the variables that the vault's settings name.
    if ["HOME", "KEY", "URL", "OPERATOR_TOKEN", "VAULT_KEY", "VAULT_PASSPHRASE"].contains(&rest) {
        return Ok(());
    }
    // Kubernetes sets such names for every service of a namespace.
    if rest.contains("_SERVICE_") || rest.contains("_PORT") || rest.starts_with("PORT") {
        return Ok(());
    }
    let known: BTreeMap<String, &str> =
        SETTINGS.iter().map(|setting| (setting.variable(), setting.path)).collect();
    let area = |path: &str| path.split('.').next().unwrap_or_default().to_ascii_uppercase() + "_";
    let in_area = known.values().any(|path| rest.starts_with(&area(path)));
    match did_you_mean(name, known.keys().map(String::as_str)) {
        Some(near) => {
            Err(Faults::One(format!("there is no setting `{name}` (environment); did you mean `{near}`?")))
        }
        None if in_area => {
            Err(Faults::One(format!("there is no setting `{name}` (environment); all: toolgate config show")))
        }
        None => Ok(()),
    }
}

/// The `TOOLGATE_` lines of a `.env` file: `NAME=value`, with optional `export`, quotes and `# comments`.
///
/// # Errors
/// A line of ours that cannot be read, by its number.
pub fn dotenv(text: &str) -> Result<Vec<(String, String)>, Faults> {
    let mut variables = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
        if !line.starts_with("TOOLGATE_") {
            continue;
        }
        let fault = |what: &str| Faults::One(format!("{what} (.env:{}); write `NAME=value`", index + 1));
        let (name, value) = line.split_once('=').ok_or_else(|| fault("a name without a value"))?;
        let value = value.trim();
        let value = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => {
                let inner = value.strip_prefix(quote).and_then(|rest| rest.split_once(quote));
                inner.ok_or_else(|| fault("a quote that does not end"))?.0
            }
            _ => value.split(" #").next().unwrap_or_default().trim_end(),
        };
        variables.push((name.trim_end().to_owned(), value.to_owned()));
    }
    Ok(variables)
}

/// `TOOLGATE_` names of a `.env` file that are no settings but are read by commands: `TOOLGATE_KEY` and the like.
#[must_use]
pub fn dotenv_variable(text: &str, name: &str) -> Option<String> {
    dotenv(text).ok()?.into_iter().rev().find(|(known, _)| known == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::{super::sources::Sources, *};

    fn faults(sources: &Sources<'_>) -> String {
        sources.choose().unwrap_err().to_string()
    }

    #[test]
    fn a_variable_that_looks_like_a_setting_must_be_one() {
        let environment = |name: &str| Sources {
            environment: vec![(name.to_owned(), "1".to_owned())],
            ..Sources::default()
        };
        assert_eq!(
            faults(&environment("TOOLGATE_GATEWAY_LISEN")),
            "there is no setting `TOOLGATE_GATEWAY_LISEN` (environment); did you mean `TOOLGATE_GATEWAY_LISTEN`?"
        );
        assert!(faults(&environment("TOOLGATE_AUDIT_WHATEVER_ELSE")).contains("there is no setting"));
        for fine in [
            "TOOLGATE_KEY",
            "TOOLGATE_HOME",
            "TOOLGATE_X",
            "PATH",
            "TOOLGATE_GATEWAY_SERVICE_HOST",
            "TOOLGATE_VAULT_KEY",
        ] {
            assert!(environment(fine).choose().is_ok(), "{fine}");
        }
    }

    #[test]
    fn dotenv_reads_only_our_names() {
        let text =
            "# x\nPATH=/bad\nexport TOOLGATE_KEY='agt_1'\nTOOLGATE_URL=\"http://x\" # here\nTOOLGATE_A=\n";
        let variables = dotenv(text).unwrap();
        let pairs: Vec<_> = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("TOOLGATE_KEY", "agt_1"), ("TOOLGATE_URL", "http://x"), ("TOOLGATE_A", "")]);
        assert!(dotenv("TOOLGATE_KEY='x\n").is_err());
        assert_eq!(dotenv_variable(text, "TOOLGATE_KEY").as_deref(), Some("agt_1"));
    }
}
