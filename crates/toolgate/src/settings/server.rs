//! Servers that a gateway depends on: URLs that may contain a password, and how limits are counted.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use counters::OnLoss;
use domain::trust::Privacy;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use store::Place;
use wire::percent;
use zeroize::Zeroizing;

use super::{Choices, Faults, Settings};

/// The URL of a server. Whoever shows it shows neither user nor password nor parameters.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerUrl(String);

impl ServerUrl {
    /// Reads a URL with one of these schemes.
    #[must_use]
    pub fn parse(text: &str, schemes: &[&str]) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let whole = schemes.contains(&scheme) && !rest.is_empty() && !text.contains(char::is_whitespace);
        whole.then(|| Self(text.to_owned()))
    }

    /// The same with this password, in place of one that it has.
    fn with_password(&self, password: &str) -> Self {
        let (scheme, rest) = self.0.split_once("://").unwrap_or_default();
        let (user, place) = rest.rsplit_once('@').unwrap_or(("", rest));
        let user = user.split_once(':').map_or(user, |(user, _)| user);
        Self(format!("{scheme}://{user}:{}@{place}", percent::encode(password.as_bytes())))
    }

    /// The URL as the server's client wants it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once("://").unwrap_or_default();
        // A password may hold any of the others, but no `@` comes after it in an authority.
        let (secret, place) = rest.rsplit_once('@').map_or(("", rest), |(_, place)| ("…@", place));
        let (place, query) = place.split_once('?').map_or((place, ""), |(place, _)| (place, "?…"));
        write!(f, "{scheme}://{secret}{place}{query}")
    }
}
impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where limits are counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counters {
    /// A Redis or Valkey server; `None`: this process.
    pub url: Option<ServerUrl>,
    /// The certificates (PEM) of the authorities that may vouch for it; `None`: those that this machine trusts.
    pub authority: Option<String>,
    /// What happens while that server is away.
    pub on_loss: OnLoss,
}

impl Counters {
    pub(super) fn build(choices: &Choices) -> Self {
        let nodes = u32::try_from(choices.number("counters.nodes")).unwrap_or(u32::MAX);
        let on_loss = match choices.text("counters.on_loss") {
            Some("share") => OnLoss::Share { nodes },
            _ => OnLoss::Deny,
        };
        Self { url: choices.server("counters.url"), authority: None, on_loss }
    }

    /// Who can read what is said to that server.
    #[must_use]
    pub fn privacy(&self) -> Privacy {
        self.url.as_ref().map_or(Privacy::Here, |url| counters::privacy(url.reveal()))
    }
}

/// What of one server's settings is in files, so that neither its URL nor the environment has to hold it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerFiles {
    /// Its password, alone.
    pub password: Option<PathBuf>,
    /// The certificates (PEM) of who may vouch for it.
    pub authority: Option<PathBuf>,
}

impl ServerFiles {
    pub(super) fn build(area: &str, path: &dyn Fn(&str) -> Option<PathBuf>) -> Self {
        Self { password: path(&format!("{area}.password_file")), authority: path(&format!("{area}.ca_file")) }
    }
}

impl Settings {
    /// Takes up what stands in the servers' files. `read` gives a file's text, and nothing where there is none.
    ///
    /// # Errors
    /// One sentence when a file is missing or holds something else than it should, or no server wants what is in it; what
    /// `read` fails with.
    pub fn take_files(
        &mut self,
        read: impl Fn(&Path) -> anyhow::Result<Option<String>>,
    ) -> anyhow::Result<()> {
        let files = std::mem::take(&mut self.store_files);
        if let Some(file) = &files.password {
            let url = self.store_server().ok_or_else(|| unwanted("store", "password"))?;
            *url = url.with_password(&password(file, "store", read(file)?)?);
        }
        if let Some(file) = &files.authority {
            let url = self.store_server().ok_or_else(|| unwanted("store", "ca"))?;
            let authority = authority(file, "store", read(file)?)?;
            *url = url.with_authority(&authority).map_err(|bad| unasked("store", &bad, bad.instead()))?;
        }
        self.store_files = files;
        let counters = &mut self.counters;
        if let Some(file) = &self.counters_files.password {
            let url = counters.url.as_mut().ok_or_else(|| unwanted("counters", "password"))?;
            *url = url.with_password(&password(file, "counters", read(file)?)?);
        }
        if let Some(file) = &self.counters_files.authority {
            let url = counters.url.as_ref().ok_or_else(|| unwanted("counters", "ca"))?;
            counters.authority = Some(authority(file, "counters", read(file)?)?);
            if !url.reveal().starts_with("rediss:") {
                let bad = counters::BadServer::Unasked;
                return Err(
                    unasked("counters", &bad, "write `rediss://…`, or leave the authority out").into()
                );
            }
        }
        Ok(())
    }

    fn store_server(&mut self) -> Option<&mut store::ServerUrl> {
        match &mut self.store {
            Place::Server(url) => Some(url),
            Place::File(_) => None,
        }
    }
}

fn unwanted(area: &str, what: &str) -> Faults {
    let noun = if what == "ca" { "an authority" } else { "a password" };
    Faults::One(format!(
        "there is {noun} and no server that it is for ({area}.{what}_file); set {area}.url too"
    ))
}

fn unasked(area: &str, bad: &dyn fmt::Display, instead: &str) -> Faults {
    Faults::One(format!("{bad} ({area}.url, {area}.ca_file); {instead}"))
}

/// One newline at the end belongs to the file, not to the password.
fn password(file: &Path, area: &str, text: Option<String>) -> Result<Zeroizing<String>, Faults> {
    let place = format!("({}, {area}.password_file)", file.display());
    let text = text.map(Zeroizing::new).ok_or_else(|| {
        Faults::One(format!("there is no file with the password {place}; put the password alone into it"))
    })?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    if line.is_empty() || line.contains(['\n', '\r', '\0']) {
        return Err(Faults::One(format!(
            "a file with a password has one line {place}; put the password alone into it"
        )));
    }
    Ok(Zeroizing::new(line.to_owned()))
}

/// Every certificate must be one: what is skipped would be missed when it is needed.
fn authority(file: &Path, area: &str, text: Option<String>) -> Result<String, Faults> {
    let place = format!("({}, {area}.ca_file)", file.display());
    let next = "put the authority's certificate into it (PEM)";
    let text =
        text.ok_or_else(|| Faults::One(format!("there is no file with an authority {place}; {next}")))?;
    let mut anchors = RootCertStore::empty();
    let all_fit = CertificateDer::pem_slice_iter(text.as_bytes())
        .all(|read| read.is_ok_and(|certificate| anchors.add(certificate).is_ok()));
    if !all_fit || anchors.is_empty() {
        return Err(Faults::One(format!(
            "a file with an authority holds no certificate that can be read {place}; {next}"
        )));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Sources;

    fn with_files(set: &[&str], text: Option<&str>) -> anyhow::Result<Settings> {
        let set: Vec<String> = set.iter().map(|&text| text.to_owned()).collect();
        let choices = Sources { set: &set, ..Sources::default() }.choose()?;
        let mut settings = Settings::build(&choices, Path::new("/home"))?;
        settings.take_files(|file| {
            assert_eq!(file, Path::new("/run/secrets/password"));
            Ok(text.map(str::to_owned))
        })?;
        Ok(settings)
    }

    const STORE: [&str; 2] =
        ["store.url=postgres://ada@db.example/toolgate", "store.password_file=/run/secrets/password"];
    const COUNTERS: [&str; 2] =
        ["counters.url=redis://counters.example/3?a=b", "counters.password_file=/run/secrets/password"];

    #[test]
    fn a_password_comes_from_its_file_and_is_not_shown() {
        let settings = with_files(&COUNTERS, Some("p@ss w/rd:?\n")).unwrap();
        let url = settings.counters.url.unwrap();
        assert_eq!(url.reveal(), "redis://:p%40ss%20w%2Frd%3A%3F@counters.example/3?a=b");
        assert_eq!(url.to_string(), "redis://…@counters.example/3?…");
        let ada = ServerUrl("rediss://ada:old@h".to_owned()).with_password("new");
        assert_eq!(ada.reveal(), "rediss://ada:new@h");
        let settings = with_files(&STORE, Some("s3cret")).unwrap();
        let shown = format!("{} {settings:?}", settings.store);
        assert!(shown.contains("db.example") && !shown.contains("s3cret"), "{shown}");
    }

    #[test]
    fn a_password_file_that_holds_none_stops_the_start() {
        for pair in [STORE, COUNTERS] {
            for text in [None, Some(""), Some("\n"), Some("two\nlines\n"), Some("s3cret\r\n")] {
                let error = with_files(&pair, text).unwrap_err().to_string();
                assert!(error.contains("/run/secrets/password") && !error.contains("s3cret"), "{error}");
            }
            let error = with_files(&pair[1..], Some("s3cret")).unwrap_err().to_string();
            assert!(error.ends_with(".url too") && !error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn an_authority_is_a_certificate_and_wants_a_server_that_is_asked_for_one() {
        let made = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap().cert.pem();
        for (url, good, bad) in [
            ("store.url", "postgres://ada@db.example/c", "postgres://ada@db.example/c?sslmode=require"),
            ("counters.url", "rediss://db.example", "redis://db.example"),
        ] {
            let area = url.trim_end_matches(".url");
            let file = format!("{area}.ca_file=/run/secrets/password");
            let read = |value: &str, text: &str| with_files(&[&format!("{url}={value}"), &file], Some(text));
            let settings = read(good, &made).unwrap();
            assert_eq!(settings.counters.authority.is_some(), area == "counters");
            for no_certificate in
                ["", "ca.pem", made.get(..made.len() / 2).unwrap(), &made.replace("MII", "MIA")]
            {
                let said = read(good, no_certificate).unwrap_err().to_string();
                assert!(said.contains("no certificate that can be read (/run/secrets/password, "), "{said}");
            }
            let said = read(bad, &made).unwrap_err().to_string();
            assert!(
                said.starts_with("an authority is named, and ")
                    && said.contains(file.get(..area.len()).unwrap()),
                "{said}"
            );
            let said = with_files(&[&file], Some(&made)).unwrap_err().to_string();
            assert_eq!(
                said,
                format!("there is an authority and no server that it is for ({area}.ca_file); set {url} too")
            );
        }
    }

    #[test]
    fn no_password_is_shown() {
        for (url, shown) in [
            ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
            ("rediss://ada:pa@ss/w?rd@db.example:1/2?x=secret", "rediss://…@db.example:1/2?…"),
            ("redis://:secret@h", "redis://…@h"),
        ] {
            let parsed = ServerUrl::parse(url, &["redis", "rediss"]).unwrap();
            assert_eq!((parsed.to_string(), format!("{parsed:?}")), (shown.to_owned(), shown.to_owned()));
            assert_eq!(parsed.reveal(), url);
        }
        for bad in ["redis:/x", "redis://", "http://x", "redis://a b", ""] {
            assert_eq!(ServerUrl::parse(bad, &["redis"]), None, "{bad}");
        }
    }
}
