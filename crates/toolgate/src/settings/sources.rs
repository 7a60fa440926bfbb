//! Where settings come from, and which source won. Reads text that others fetched; opens no file itself.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use domain::{
    risk::RiskScore,
    yaml::{self, Problem, did_you_mean},
};

use super::{
    file,
    issuers::Issuer,
    kind::Value,
    notify::{self, NotifySink},
    server::ServerUrl,
    table::{SETTINGS, Setting},
    variables::{dotenv, refuse_unknown},
};

/// The texts that settings are read from.
#[derive(Debug, Default)]
pub struct Sources<'a> {
    /// `toolgate.yaml`: how it is named in problems, and its text.
    pub file: Option<(&'a str, &'a str)>,
    /// `.env` of the working directory.
    pub dotenv: Option<&'a str>,
    /// The environment; only names that start with `TOOLGATE_` are looked at.
    pub environment: Vec<(String, String)>,
    /// `path=value` of each `--set`.
    pub set: &'a [String],
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    /// The table.
    Default,
    /// A line of the settings file.
    File(String, usize),
    /// `.env`, under this name.
    DotEnv(String),
    /// The environment, under this name.
    Environment(String),
    /// `--set`.
    Set,
}

impl fmt::Display for From {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(file, line) => write!(f, "{file}:{line}"),
            Self::DotEnv(name) => write!(f, ".env {name}"),
            Self::Environment(name) => f.write_str(name),
            Self::Set => f.write_str("--set"),
        }
    }
}

/// One setting's value, as it was written and as it was read.
#[derive(Debug, Clone)]
pub struct Choice {
    /// Which setting.
    pub setting: &'static Setting,
    /// As it was written.
    pub written: String,
    /// Who said so.
    pub from: From,
    value: Value,
}

/// Every setting's value.
#[derive(Debug)]
pub struct Choices {
    choices: Vec<Choice>,
}

/// What is wrong with the settings.
#[derive(Debug, thiserror::Error)]
pub enum Faults {
    /// Faults in a file, each with its place.
    #[error("{}", yaml::render_all(.0).trim_end())]
    File(Vec<Problem>),
    /// One sentence.
    #[error("{0}")]
    One(String),
    /// One sentence about what stands on the command line.
    #[error("{0}")]
    Usage(String),
}

impl Sources<'_> {
    /// Reads all sources in their order; the last one that names a setting wins.
    ///
    /// # Errors
    /// Every fault of the file, or the first fault of another source.
    pub fn choose(&self) -> Result<Choices, Faults> {
        let mut choices = Choices::defaults()?;
        if let Some((name, text)) = self.file {
            file::read(&mut choices, name, text)?;
        }
        // A real variable wins over one of the file, so `.env` comes first.
        for (name, value) in dotenv(self.dotenv.unwrap_or_default())? {
            choices.take_variable(&name, &value, From::DotEnv(name.clone()))?;
        }
        for (name, value) in &self.environment {
            choices.take_variable(name, value, From::Environment(name.clone()))?;
        }
        for assignment in self.set {
            choices.take_assignment(assignment)?;
        }
        Ok(choices)
    }
}

impl Choices {
    fn defaults() -> Result<Self, Faults> {
        let mut choices = Self { choices: Vec::with_capacity(SETTINGS.len()) };
        for setting in SETTINGS {
            let value = setting.kind.read(&texts(setting, setting.default)).map_err(|(what, instead)| {
                Faults::One(format!("{what} (default of {}); {instead}", setting.path))
            })?;
            let written = setting.default.to_owned();
            choices.choices.push(Choice { setting, written, value, from: From::Default });
        }
        Ok(choices)
    }

    fn take_variable(&mut self, name: &str, value: &str, from: From) -> Result<(), Faults> {
        let Some(rest) = name.strip_prefix("TOOLGATE_") else { return Ok(()) };
        let Some(setting) = SETTINGS.iter().find(|setting| setting.variable() == name) else {
            return refuse_unknown(name, rest);
        };
        if value.is_empty() {
            return Ok(());
        }
        self.put(setting, texts(setting, value), value, from)
            .map_err(|(what, instead)| Faults::One(format!("{what} ({name}); {instead}")))
    }

    fn take_assignment(&mut self, assignment: &str) -> Result<(), Faults> {
        let shown = assignment.escape_debug();
        let Some((path, value)) = assignment.split_once('=') else {
            return Err(Faults::Usage(format!(
                "`{shown}` is not `path=value` (--set); write `--set gateway.listen=…`"
            )));
        };
        let paths = SETTINGS.iter().map(|setting| setting.path);
        let Some(setting) = SETTINGS.iter().find(|setting| setting.path == path) else {
            let hint = match did_you_mean(path, paths) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "all: toolgate config show".to_owned(),
            };
            return Err(Faults::Usage(format!(
                "there is no setting `{}` (--set); {hint}",
                path.escape_debug()
            )));
        };
        self.put(setting, texts(setting, value), value, From::Set)
            .map_err(|(what, instead)| Faults::Usage(format!("{what} (--set {path}); {instead}")))
    }

    /// Reads a value and lets it win over the one before.
    ///
    /// # Errors
    /// What is wrong with it, and what to write instead.
    pub(super) fn put(
        &mut self,
        setting: &'static Setting,
        texts: Vec<String>,
        written: &str,
        from: From,
    ) -> Result<(), (String, String)> {
        self.put_value(setting, setting.kind.read(&texts)?, written, from);
        Ok(())
    }

    /// Lets a value win over the one before.
    pub(super) fn put_value(&mut self, setting: &'static Setting, value: Value, written: &str, from: From) {
        // As it is written it may have secrets in it.
        let written = match &value {
            Value::Sinks(sinks) => notify::written(sinks),
            Value::Issuers(issuers) => {
                let issuers: Vec<String> = issuers.iter().map(ToString::to_string).collect();
                format!("[{}]", issuers.join(", "))
            }
            Value::Server(url) => url.to_string(),
            Value::Store(url) => url.to_string(),
            _ => written.to_owned(),
        };
        if let Some(choice) = self.choices.iter_mut().find(|choice| choice.setting.path == setting.path) {
            *choice = Choice { setting, written, from, value };
        }
    }

    /// Every setting with its value, in the table's order.
    #[must_use]
    pub fn all(&self) -> &[Choice] {
        &self.choices
    }

    fn value(&self, path: &str) -> &Value {
        let choice = self.choices.iter().find(|choice| choice.setting.path == path);
        debug_assert!(choice.is_some(), "`{path}` is not in the table");
        choice.map_or(&Value::None, |choice| &choice.value)
    }

    /// Whether somebody chose it, be it the default.
    pub(super) fn is_chosen(&self, path: &str) -> bool {
        self.choices.iter().any(|choice| choice.setting.path == path && choice.from != From::Default)
    }

    /// A word, path or URL; `None` when nothing was chosen.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        match self.value(path) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
    /// A number of bytes.
    pub(super) fn number(&self, path: &str) -> u64 {
        match self.value(path) {
            Value::Number(number) => *number,
            _ => 0,
        }
    }
    /// A length of time.
    pub(super) fn duration(&self, path: &str) -> Duration {
        match self.value(path) {
            Value::Duration(length) => *length,
            _ => Duration::ZERO,
        }
    }
    /// A risk; `None` when nothing was chosen.
    pub(super) fn risk(&self, path: &str) -> Option<RiskScore> {
        match self.value(path) {
            Value::Risk(risk) => Some(*risk),
            _ => None,
        }
    }
    /// A truth.
    pub(super) fn is_true(&self, path: &str) -> bool {
        *self.value(path) == Value::Truth(true)
    }
    /// An address to listen on.
    pub(super) fn address(&self, path: &str) -> SocketAddr {
        match self.value(path) {
            Value::Address(address) => *address,
            _ => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        }
    }
    /// Receivers of notifications.
    pub(super) fn sinks(&self, path: &str) -> Vec<NotifySink> {
        match self.value(path) {
            Value::Sinks(sinks) => sinks.clone(),
            _ => Vec::new(),
        }
    }
    /// Issuers of access tokens.
    pub(super) fn issuers(&self, path: &str) -> Vec<Issuer> {
        match self.value(path) {
            Value::Issuers(issuers) => issuers.clone(),
            _ => Vec::new(),
        }
    }
    /// A server; `None` when this process does it itself.
    pub(super) fn server(&self, path: &str) -> Option<ServerUrl> {
        match self.value(path) {
            Value::Server(url) => Some(url.clone()),
            _ => None,
        }
    }
    /// A server of stores; `None` where it is a file.
    pub(super) fn store(&self, path: &str) -> Option<&store::ServerUrl> {
        match self.value(path) {
            Value::Store(url) => Some(url),
            _ => None,
        }
    }
    /// Several texts.
    pub(super) fn list(&self, path: &str) -> Vec<String> {
        match self.value(path) {
            Value::List(list) => list.clone(),
            _ => Vec::new(),
        }
    }
}

/// A value of the environment or of `--set`: lists are separated by commas.
fn texts(setting: &Setting, value: &str) -> Vec<String> {
    if !setting.kind.is_list() {
        return vec![value.to_owned()];
    }
    let inner = value.trim().trim_start_matches('[').trim_end_matches(']');
    inner.split(',').map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(choices: &Choices, path: &str) -> (String, String) {
        let choice = choices.all().iter().find(|choice| choice.setting.path == path).unwrap();
        (choice.written.clone(), choice.from.to_string())
    }

    #[test]
    fn later_sources_win() {
        let path = "gateway.upstream_timeout";
        let name = "TOOLGATE_GATEWAY_UPSTREAM_TIMEOUT";
        let set = vec![format!("{path}=5s")];
        let mut sources = Sources::default();
        assert_eq!(written(&sources.choose().unwrap(), path), ("30s".into(), "default".into()));
        sources.file = Some(("toolgate.yaml", "gateway:\n  upstream_timeout: 2s\n"));
        assert_eq!(written(&sources.choose().unwrap(), path), ("2s".into(), "toolgate.yaml:2".into()));
        sources.dotenv = Some("TOOLGATE_GATEWAY_UPSTREAM_TIMEOUT=3s # why\n");
        assert_eq!(written(&sources.choose().unwrap(), path), ("3s".into(), format!(".env {name}")));
        sources.environment = vec![(name.into(), "4s".into())];
        assert_eq!(written(&sources.choose().unwrap(), path), ("4s".into(), name.into()));
        sources.set = &set;
        assert_eq!(written(&sources.choose().unwrap(), path), ("5s".into(), "--set".into()));
    }

    #[test]
    fn an_empty_variable_is_unset() {
        let sources = Sources {
            environment: vec![("TOOLGATE_AUDIT_SYNC".into(), String::new())],
            ..Sources::default()
        };
        assert_eq!(written(&sources.choose().unwrap(), "audit.sync"), ("flush".into(), "default".into()));
    }

    #[test]
    fn a_list_is_written_with_commas_outside_the_file() {
        let set = vec!["gateway.allowed_hosts=a.example, B.example".to_owned()];
        let choices = Sources { set: &set, ..Sources::default() }.choose().unwrap();
        assert_eq!(choices.list("gateway.allowed_hosts"), ["a.example", "b.example"]);
    }
}
