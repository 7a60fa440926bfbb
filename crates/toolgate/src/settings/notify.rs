//! The setting `notify`: a list of receivers. A receiver's URL may have a secret in its path, so it is shown masked,
//! and never repeated in an error.

use std::fmt;

use domain::{address::is_this_machine, service::UpstreamUrl, yaml::Node};
use pipeline::notify::{Format, Topic, shown};

use super::{
    entries::{Fault, fault, in_one_line, unknown, word},
    kind::is_variable,
};

/// More receivers are nobody's intention.
const SINKS_MAX: usize = 20;
const KEYS: [&str; 4] = ["url", "secret_env", "format", "on"];
const EXAMPLE: &str =
    "write it like `[{url: https://hooks.example.com/toolgate, secret_env: NOTIFY_SECRET}]`";

/// One receiver of notifications, as it is set.
#[derive(Clone, PartialEq, Eq)]
pub struct NotifySink {
    /// Where they are posted.
    pub url: UpstreamUrl,
    /// The environment variable with the secret that signs them; there is one unless the format is `slack`.
    pub secret_env: Option<String>,
    /// In what form.
    pub format: Format,
    /// Which ones.
    pub topics: Vec<Topic>,
}

/// As it may be shown: `{url: https://hooks.slack.com/…, format: slack, on: [held]}`.
impl fmt::Display for NotifySink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{url: {}, ", shown(&self.url))?;
        if let Some(name) = &self.secret_env {
            write!(f, "secret_env: {name}, ")?;
        }
        let topics: Vec<&str> = self.topics.iter().map(|topic| topic.as_str()).collect();
        write!(f, "format: {}, on: [{}]}}", self.format.as_str(), topics.join(", "))
    }
}

impl fmt::Debug for NotifySink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The list as it may be shown.
pub fn written(sinks: &[NotifySink]) -> String {
    let sinks: Vec<String> = sinks.iter().map(ToString::to_string).collect();
    format!("[{}]", sinks.join(", "))
}

/// Reads the list from the environment or `--set`: one line of YAML, which JSON is too.
///
/// # Errors
/// What is wrong and what to write instead.
pub fn parse(text: &str) -> Result<Vec<NotifySink>, (String, String)> {
    in_one_line("notify", "receivers", text, EXAMPLE, read)
}

/// Reads the list from the settings file.
///
/// # Errors
/// Every fault, with its place.
pub fn read(node: &Node) -> Result<Vec<NotifySink>, Vec<Fault>> {
    let Some(list) = node.as_list() else {
        return Err(vec![fault(node.place, format!("`notify` is a list, this is {}", node.kind()), EXAMPLE)]);
    };
    let (mut sinks, mut faults) = (Vec::<NotifySink>::new(), Vec::new());
    if list.len() > SINKS_MAX {
        faults.push(fault(node.place, format!("there are more than {SINKS_MAX} receivers"), "name fewer"));
    }
    for entry in list {
        let Some(sink) = sink(entry, &mut faults) else { continue };
        if sinks.iter().any(|known| known.url == sink.url) {
            let what = "this receiver was named before".to_owned();
            faults.push(fault(entry.place, what, "name it once, with everything that it is told in `on`"));
        }
        sinks.push(sink);
    }
    if faults.is_empty() { Ok(sinks) } else { Err(faults) }
}

/// A line of the settings file without the paths of URLs in it.
pub fn without_paths(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, behind)) = rest.split_once("://") {
        let host = behind.find(['/', '?', ' ', ',', '}', '"', '\'']).unwrap_or(behind.len());
        let (host, path) = behind.split_at_checked(host).unwrap_or((behind, ""));
        let end = path.find([' ', ',', '}', '"', '\'']).unwrap_or(path.len());
        let (path, after) = path.split_at_checked(end).unwrap_or((path, ""));
        shown.push_str(before);
        shown.push_str("://");
        shown.push_str(host);
        // As wide as it was, so that the carets stay under what they point at.
        shown.extend(path.chars().enumerate().map(|(at, _)| if at == 0 { '/' } else { '*' }));
        rest = after;
    }
    shown.push_str(rest);
    shown
}

/// One entry; what is wrong with it is told.
fn sink(entry: &Node, faults: &mut Vec<Fault>) -> Option<NotifySink> {
    let Some(members) = entry.as_map() else {
        let what = format!("a receiver is a mapping, this is {}", entry.kind());
        faults.push(fault(entry.place, what, "write `{url: …, secret_env: …}`"));
        return None;
    };
    let before = faults.len();
    let (mut at, mut secret_env, mut format, mut topics) = (None, None, Format::Json, Topic::ALL.to_vec());
    for (key, value) in members {
        match key.text.as_str() {
            _ if value.is_null() => {}
            "url" => at = url(value, faults),
            "secret_env" => secret_env = variable(value, faults),
            "format" => {
                if let Some(word) = word(value, &Format::WORDS, faults) {
                    format = Format::parse(word).unwrap_or(format);
                }
            }
            "on" => topics = on(value, faults),
            _ => faults.push(unknown(key, &KEYS)),
        }
    }
    if faults.len() > before {
        return None;
    }
    if at.is_none() {
        faults.push(fault(entry.place, "a receiver has no `url`".to_owned(), "say where it listens"));
    }
    if format == Format::Json && secret_env.is_none() {
        faults.push(fault(
            entry.place,
            "notifications in format `json` are signed, and this receiver has no `secret_env`".to_owned(),
            "name the environment variable that holds the secret",
        ));
    }
    Some(NotifySink { url: at?, secret_env, format, topics })
}

fn url(value: &Node, faults: &mut Vec<Fault>) -> Option<UpstreamUrl> {
    let wrong = |why: &str| {
        let what = format!("the `url` of a receiver cannot be used: {why}");
        fault(value.place, what, "write it like `https://hooks.example.com/toolgate`")
    };
    let parsed = match value.as_text().map(UpstreamUrl::parse) {
        Some(Ok(url)) => url,
        Some(Err(bad)) => {
            faults.push(wrong(bad.why()));
            return None;
        }
        None => {
            faults.push(wrong(&format!("it is {}", value.kind())));
            return None;
        }
    };
    if !parsed.is_tls() && !is_this_machine(parsed.host()) {
        faults.push(wrong("without TLS it must be on this machine"));
        return None;
    }
    Some(parsed)
}

fn variable(value: &Node, faults: &mut Vec<Fault>) -> Option<String> {
    match value.as_text().filter(|text| is_variable(text)) {
        Some(name) => Some(name.to_owned()),
        None => {
            // It may be the secret itself, put in the wrong place.
            let what = "what is written as `secret_env` is no name of a variable".to_owned();
            let instead = "write a name like `NOTIFY_SECRET`, and set that variable to the secret";
            faults.push(fault(value.place, what, instead));
            None
        }
    }
}

fn on(value: &Node, faults: &mut Vec<Fault>) -> Vec<Topic> {
    let words = value.as_list().filter(|words| !words.is_empty());
    let Some(words) = words else {
        let what = "`on` is a list of what is told".to_owned();
        faults.push(fault(value.place, what, format!("write it like `[{}]`", Topic::WORDS.join(", "))));
        return Vec::new();
    };
    let known = words.iter().filter_map(|node| word(node, &Topic::WORDS, faults)).collect::<Vec<_>>();
    Topic::ALL.into_iter().filter(|topic| known.contains(&topic.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::sources::Sources, *};

    fn told(text: &str) -> String {
        Sources { file: Some(("toolgate.yaml", text)), ..Sources::default() }
            .choose()
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn every_fault_has_its_place_and_shows_no_secret() {
        let text = "notify:\n  - { ur: https://hooks.slack.com/services/T0/B0/secret, format: slck }\n";
        let told = told(text);
        assert!(
            told.starts_with("toolgate.yaml:2:7: error: unknown key `ur`; did you mean `url`?"),
            "{told}"
        );
        assert!(
            told.contains("toolgate.yaml:2:66: error: `slck` is unknown; did you mean `slack`?"),
            "{told}"
        );
        assert!(told.contains("https://hooks.slack.com/****") && !told.contains("secret"), "{told}");
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for (entry, part) in [
            ("{ url: https://a.example }", "has no `secret_env`; name the environment variable"),
            ("{ format: slack }", "a receiver has no `url`"),
            ("{ url: http://10.0.0.1/x, format: slack }", "without TLS it must be on this machine"),
            ("{ url: a.example, format: slack }", "cannot be used"),
            ("{ url: https://a.example, secret_env: whsec_abc= }", "no name of a variable"),
            ("{ url: https://a.example, format: slack, on: [] }", "write it like `[held, decided, killed]`"),
            ("{ url: https://a.example, format: slack, on: [hold] }", "did you mean `held`?"),
            ("https://a.example", "a receiver is a mapping"),
        ] {
            let told = told(&format!("notify:\n  - {entry}\n"));
            assert!(told.contains(part), "{entry}: {told}");
            assert!(!told.contains("; ;") && told.starts_with("toolgate.yaml:2:"), "{told}");
        }
        let twice =
            "notify: [{url: https://a.example, format: slack}, {url: https://a.example, format: slack}]";
        assert!(self::told(twice).contains("named before"));
        assert!(self::told("notify: https://a.example").contains("`notify` is a list"));
    }

    #[test]
    fn one_line_serves_outside_of_the_file() {
        for text in [
            "[{url: http://127.0.0.1:9/a?b=c, secret_env: A, on: [killed, held]}]",
            r#"[{"url": "http://127.0.0.1:9/a?b=c", "secret_env": "A", "on": ["held", "killed"]}]"#,
        ] {
            let sinks = parse(text).unwrap();
            assert_eq!(
                written(&sinks),
                "[{url: http://127.0.0.1:9/…, secret_env: A, format: json, on: [held, killed]}]"
            );
            assert_eq!(sinks[0].url.uri(), "http://127.0.0.1:9/a?b=c");
            assert!(!format!("{sinks:?}").contains("b=c"));
        }
        assert_eq!(parse("[]").unwrap(), []);
        for bad in ["x", "[{", "[{url: https://a.example/secret}]"] {
            let (what, instead) = parse(bad).unwrap_err();
            assert!(!what.is_empty() && !instead.is_empty() && !what.contains("secret}"), "{bad}");
        }
    }
}
