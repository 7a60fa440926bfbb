//! What the defaults are, and what cannot stand together.

use super::{kind::Kind, table::SETTINGS, *};

fn build(set: &[&str]) -> Result<Settings, Faults> {
    let set: Vec<String> = set.iter().map(|&text| text.to_owned()).collect();
    let choices = Sources { set: &set, ..Sources::default() }.choose()?;
    Settings::build(&choices, Path::new("/home"))
}

#[test]
fn the_defaults_are_the_contracts() {
    let settings = build(&[]).unwrap();
    assert_eq!(settings.gateway.listener.listen, "127.0.0.1:8484".parse().unwrap());
    assert_eq!(settings.console.listener.listen, "127.0.0.1:8485".parse().unwrap());
    assert_eq!(settings.gateway.body_limit, 10_000_000);
    assert_eq!(settings.gateway.upstream_timeout, Duration::from_secs(30));
    assert!(!settings.gateway.key_in_query && !settings.gateway.listener.insecure);
    assert_eq!(settings.policy_file, Path::new("/home/policy.yaml"));
    assert_eq!(settings.root_key, RootKeySource::File("/home/vault.key".into()));
    assert_eq!(settings.store, Place::File("/home/toolgate.db".into()));
    let retain = Some(Duration::from_secs(90 * 86_400));
    assert_eq!(
        settings.audit,
        Audit { sync: Sync::Flush, record: Record::Calls, retain, value_limit: 4_000 }
    );
    assert_eq!(build(&["audit.retain=none"]).unwrap().audit.retain, None);
    assert_eq!(settings.telemetry, Telemetry { log: LogForm::Text, level: Level::Info, otlp: None });
    assert_eq!(settings.gateway.listener.url(), "http://127.0.0.1:8484");
}

#[test]
fn every_setting_changes_something() {
    let default = build(&[]).unwrap();
    for setting in SETTINGS {
        let path = setting.path;
        let other = match setting.kind {
            Kind::Address => "127.0.0.1:9".to_owned(),
            Kind::Url => "https://gate.example.com".to_owned(),
            Kind::Path | Kind::Variable | Kind::Name => "other".to_owned(),
            Kind::Endpoint => "https://api.example.com/v1".to_owned(),
            Kind::Risk => "0.9".to_owned(),
            Kind::Truth => "true".to_owned(),
            Kind::Size => "7KB".to_owned(),
            Kind::Duration | Kind::Delay => "7s".to_owned(),
            Kind::Count => "7".to_owned(),
            Kind::Hosts => "gate.example.com".to_owned(),
            Kind::Origins => "https://app.example.com".to_owned(),
            Kind::Ranges => "10.0.0.0/8".to_owned(),
            Kind::Sinks => "[{url: https://hooks.example.com/a, format: slack}]".to_owned(),
            Kind::Issuers => "[{issuer: https://login.example.com, agent_claim: sub}]".to_owned(),
            Kind::OneOf(words) => words.iter().find(|word| **word != setting.default).unwrap().to_string(),
            Kind::Server(_, schemes) => format!("{}://127.0.0.1", schemes[0]),
            Kind::Store => "postgres://ada@localhost/toolgate".to_owned(),
        };
        let set = format!("{path}={other}");
        // Certificate and key come together.
        let pair = match path.rsplit_once('.') {
            Some((area, "cert")) => Some(format!("{area}.key=k")),
            Some((area, "key")) if area.ends_with("tls") => Some(format!("{area}.cert=c")),
            _ => None,
        };
        let set: Vec<&str> = std::iter::once(set.as_str()).chain(pair.as_deref()).collect();
        if let Some(of_model) = path.strip_prefix("risk.model.") {
            // Only a model that is there can differ from another.
            let model = ["risk.model.url=https://a.example", "risk.model.name=small"];
            let changed = build(&[&model[..], &set].concat()).unwrap().risk.model.unwrap();
            assert_ne!(changed, build(&model).unwrap().risk.model.unwrap(), "{of_model}");
            continue;
        }
        if path == "counters.nodes" {
            // Only who shares has others to share with.
            let sharing = "counters.on_loss=share";
            assert_ne!(build(&[sharing, set[0]]).unwrap(), build(&[sharing]).unwrap());
            continue;
        }
        assert_ne!(build(&set).unwrap(), default, "{path}");
    }
}

#[test]
fn issuers_need_a_url_that_their_tokens_can_be_for() {
    let issuers = "gateway.issuers=[{issuer: https://login.example.com, agent_claim: sub, ca: own.pem}]";
    let anywhere = ["gateway.listen=0.0.0.0:9000", "gateway.insecure=true", issuers];
    let Faults::One(message) = build(&anywhere).unwrap_err() else { panic!("one sentence") };
    assert!(message.ends_with("; set gateway.public_url"), "{message}");
    let named = [&anywhere[..], &["gateway.public_url=https://gate.example.com"]].concat();
    let settings = build(&named).unwrap();
    assert_eq!(settings.gateway.issuers[0].ca.as_deref(), Some(Path::new("/home/own.pem")));
    assert!(build(&[issuers]).is_ok());
}

#[test]
fn an_address_that_others_reach_needs_tls_or_a_word() {
    for area in ["gateway", "console"] {
        let open = format!("{area}.listen=0.0.0.0:9000");
        let Faults::One(message) = build(&[&open]).unwrap_err() else { panic!("one sentence") };
        assert!(message.contains(&format!("{area}.insecure: true")), "{message}");
        assert!(build(&[&open, &format!("{area}.insecure=true")]).is_ok());
        let files = [format!("{area}.tls.cert=c.pem"), format!("{area}.tls.key=k.pem")];
        let settings = build(&[&open, &files[0], &files[1]]).unwrap();
        let listener = if area == "gateway" { settings.gateway.listener } else { settings.console.listener };
        assert_eq!(listener.tls.unwrap().cert, Path::new("/home/c.pem"));
        assert!(build(&[&files[0]]).is_err(), "a certificate without its key");
    }
}

#[test]
fn the_vault_has_one_key() {
    let key = build(&["vault.key_env=A"]).unwrap().root_key;
    assert_eq!(key, RootKeySource::Variable("A".to_owned()));
    let passphrase = build(&["vault.passphrase_env=A"]).unwrap().root_key;
    assert_eq!(passphrase, RootKeySource::Passphrase("A".to_owned()));
    for two in [
        ["vault.key_env=A", "vault.passphrase_env=B"],
        ["vault.key_env=A", "vault.key_file=vault.key"],
        ["vault.key_file=x", "vault.passphrase_env=B"],
    ] {
        let Faults::One(message) = build(&two).unwrap_err() else { panic!("one sentence") };
        assert!(message.starts_with("the vault has one key, and vault."), "{message}");
    }
}

#[test]
fn an_access_token_lives_a_day_at_most() {
    let terms = build(&[]).unwrap().console.session;
    assert_eq!(terms.access, Duration::from_secs(900));
    assert_eq!((terms.refresh, terms.idle), (Duration::from_secs(604_800), Duration::from_secs(1_800)));
    assert!(build(&["console.session.access=25h"]).is_err());
}

#[test]
fn two_listeners_need_two_ports() {
    assert!(build(&["console.listen=127.0.0.1:8484"]).is_err());
    assert!(build(&["console.listen=127.0.0.1:0", "gateway.listen=127.0.0.1:0"]).is_ok());
}
