//! Targets of HTTP requests: whatever is accepted, `http::Uri` carries and a browser reads as it is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::target::{OddTargets, TARGET_BYTES_MAX, Target};

fuzz_target!(|input: (&str, Option<&str>)| {
    let (path, query) = input;
    let strict = Target::parse(path, query, OddTargets::Refuse);
    match Target::parse(path, query, OddTargets::Pass) {
        Ok(target) => {
            assert!(target.as_str().len() <= TARGET_BYTES_MAX);
            assert_eq!((target.path(), target.query()), (path, query));
            let uri: http::Uri = target.as_str().parse().expect("it can be carried");
            assert_eq!((uri.to_string().as_str(), uri.path(), uri.query()), (target.as_str(), path, query));
            let seen = url::Url::parse(&format!("http://host.test{path}")).expect("it can be read");
            let segments = |path: &str| path.split(['/', '\\']).count();
            assert_eq!(segments(seen.path()), segments(path), "it leads elsewhere");
            assert!(strict.is_err() || seen.path() == path);
        }
        Err(bad) => {
            assert!(strict.is_err(), "the strict reader takes more");
            let said = bad.to_string();
            assert!(!said.chars().any(char::is_control) && said.chars().count() < 160);
        }
    }
});
