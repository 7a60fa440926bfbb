//! What people are told about the servers that a gateway depends on: whether others can listen on the way, and whose
//! clock is off.

use domain::{
    clock::{Agreement, Apart},
    trust::Privacy,
};
use store::Place;

use crate::{output::age, settings::Settings};

/// Ways to servers on which others can listen, each with what to do.
pub fn open_ways(settings: &Settings) -> Vec<String> {
    let store = match &settings.store {
        Place::Server(url) => url.privacy(),
        Place::File(_) => Privacy::Here,
    };
    let mut open = Vec::new();
    match store {
        Privacy::Here | Privacy::Proven => {}
        Privacy::Unproven => open.push(
            "store.url says `sslmode=require`: whoever answers in the server's place decides what is allowed; leave it \
             out, and name the server's authority in store.ca_file"
                .to_owned(),
        ),
        Privacy::Clear => open.push(
            "store.url says `sslmode=disable`: whoever is on the way to the server reads and changes what is allowed and \
             what is recorded; leave it out unless that network is yours alone"
                .to_owned(),
        ),
    }
    if settings.counters.privacy() == Privacy::Clear {
        open.push(
            "counters.url has no TLS: whoever is on the way to the server reads its password and lifts limits; write \
             `rediss://` unless that network is yours alone"
                .to_owned(),
        );
    }
    open
}

/// The clocks of these servers: how far they agree at worst, and that in words.
pub fn clocks(servers: &[(&str, Apart)]) -> Option<(Agreement, String)> {
    let worst = servers.iter().map(|(_, apart)| apart.agreement()).max()?;
    if worst == Agreement::Agree {
        let names: Vec<&str> = servers.iter().map(|(server, _)| *server).collect();
        return Some((worst, format!("{} in step with this machine", names.join(" and "))));
    }
    let words = |(server, apart): &(&str, Apart)| {
        let side = if apart.by.is_negative() { "behind" } else { "ahead of" };
        format!("{server} is {} {side} this machine", age(apart.by.unsigned_abs()))
    };
    let off = servers.iter().filter(|(_, apart)| apart.agreement() != Agreement::Agree);
    let off: Vec<String> = off.map(words).collect();
    let next = "held calls, keys and logins end early or late: set all clocks by NTP";
    Some((worst, format!("{}; {next}", off.join(", "))))
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Duration};

    use jiff::SignedDuration;

    use super::*;
    use crate::settings::Sources;

    #[test]
    fn whoever_can_listen_is_warned_of() {
        for (set, said) in [
            (&[][..], &[][..]),
            (&["store.url=postgres://a@db.example/c", "counters.url=rediss://c.example"], &[]),
            (&["store.url=postgres://a@localhost/c", "counters.url=redis://127.0.0.1"], &[]),
            (&["store.url=postgres://a@db.example/c?sslmode=disable"], &["`sslmode=disable`"]),
            (&["store.url=postgres://a@db.example/c?sslmode=require"], &["`sslmode=require`"]),
            (&["counters.url=redis://:s3cret@c.example"], &["counters.url has no TLS"]),
        ] {
            let set: Vec<String> = set.iter().map(|&text| text.to_owned()).collect();
            let choices = Sources { set: &set, ..Sources::default() }.choose().unwrap();
            let open = open_ways(&Settings::build(&choices, Path::new("/home")).unwrap());
            assert_eq!(open.len(), said.len(), "{set:?}: {open:?}");
            assert!(open.iter().zip(said).all(|(open, said)| open.contains(said)), "{open:?}");
        }
    }

    #[test]
    fn clocks_are_told_apart() {
        let apart = |ms| Apart { by: SignedDuration::from_millis(ms), doubt: Duration::ZERO };
        assert_eq!(clocks(&[]), None);
        assert_eq!(
            clocks(&[("Postgres", apart(-3)), ("Redis", apart(0))]).unwrap(),
            (Agreement::Agree, "Postgres and Redis in step with this machine".into())
        );
        let (worst, told) = clocks(&[("Postgres", apart(3)), ("Redis", apart(3_600_000))]).unwrap();
        assert_eq!(worst, Agreement::Disagree);
        assert!(told.starts_with("Redis is 1 h ahead of this machine; held calls"), "{told}");
        assert_eq!(clocks(&[("Postgres", apart(-300))]).unwrap().0, Agreement::Hardly);
    }
}
