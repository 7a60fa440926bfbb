//! What is taken and what is not; and that others who read an accepted target read what we read.

use proptest::prelude::*;
use url::Url;

use super::*;

fn refused(path: &str, odd: OddTargets) -> String {
    Target::parse(path, None, odd).map_or_else(|bad| bad.to_string(), |_| format!("`{path}` passed"))
}

#[test]
fn plain_targets_pass_as_they_are() {
    for (path, query) in [
        ("/", None),
        ("/v1/refunds", None),
        ("/v1/refunds/", Some("")),
        ("/v1/charges/ch_1", Some("expand[]=customer&limit=10&q=a%20b+c%2Fd%00")),
        ("/a.b/..c/d../...", Some("x=/../y&z=//?&w={}|^`\\'")),
        ("/a;v=1/b,c:d@e!$&'()*+=~-_", None),
        ("/caf%C3%A9/%e4%b8%96%E7%95%8C", Some("caf%E9=%ff")),
        ("/a%20b%3Fc%23d%3Be%5Bf%5D", None),
    ] {
        let target = Target::parse(path, query, OddTargets::Refuse).unwrap();
        assert_eq!((target.path(), target.query()), (path, query));
        let whole = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
        assert_eq!(target.as_str(), whole);
    }
}

#[test]
fn what_servers_read_differently_is_refused_unless_the_service_takes_it() {
    for (path, why) in [
        ("/a%2fb", "ambiguous escape `%2f` at byte 2 of the path"),
        ("/a%2Fb", "ambiguous escape `%2F` at byte 2 of the path"),
        ("/a%5cb", "ambiguous escape `%5c` at byte 2 of the path"),
        ("/a%2eb", "ambiguous escape `%2e` at byte 2 of the path"),
        ("/100%25", "ambiguous escape `%25` at byte 4 of the path"),
        ("/%61dmin", "needless escape `%61` at byte 1 of the path"),
        ("/a%7Eb", "needless escape `%7E` at byte 2 of the path"),
        ("/a%2D", "needless escape `%2D` at byte 2 of the path"),
        ("/a\\b", "unescaped `\\\\` at byte 2 of the path"),
        ("/a[b]", "unescaped `[` at byte 2 of the path"),
        ("/a|b", "unescaped `|` at byte 2 of the path"),
        ("//", "empty segment (`//`) at byte 0 of the path"),
        ("//evil.test/x", "empty segment (`//`) at byte 0 of the path"),
        ("/a//b", "empty segment (`//`) at byte 2 of the path"),
        ("/a//", "empty segment (`//`) at byte 2 of the path"),
    ] {
        assert_eq!(refused(path, OddTargets::Refuse), why);
        assert_eq!(Target::parse(path, None, OddTargets::Pass).unwrap().path(), path);
    }
}

#[test]
fn what_leads_out_of_a_folder_is_always_refused() {
    for path in [
        "/.",
        "/..",
        "/../",
        "/./a",
        "/a/../b",
        "/a/..",
        "/a/%2e%2e/b",
        "/a/%2E./b",
        "/a/.%2e",
        "/%2e",
        "/a/..;/b",
        "/a/..;x=1/b",
        "/a/..%3Bx/b",
        "/a/.;/b",
        "/a/..%20/b",
        "/a%2f..%2fb",
        "/a%2f%2e%2e/b",
        "/a/..%2f",
        "/a/..%5cb",
        "/a\\..\\b",
        "/\\..",
        "/a/%252e%252e/b",
        "/a/%25252e%25252e/b",
        "/a/%25%32%65./b",
        "/a%252f..%252fb",
    ] {
        assert!(refused(path, OddTargets::Pass).starts_with("`.` or `..` segment at byte "), "{path}");
        assert!(Target::parse(path, None, OddTargets::Refuse).is_err(), "{path}");
    }
}

#[test]
fn what_is_no_path_is_always_refused() {
    let long = format!("/{}", "a".repeat(TARGET_BYTES_MAX));
    for (path, why) in [
        ("", "the path does not start with `/`"),
        ("*", "the path does not start with `/`"),
        ("a/b", "the path does not start with `/`"),
        ("http://h/", "the path does not start with `/`"),
        (&long, "path and query are longer than 16384 bytes"),
        ("/%", "broken escape at byte 1 of the path"),
        ("/a%4", "broken escape at byte 2 of the path"),
        ("/%zz", "broken escape at byte 1 of the path"),
        ("/%+1", "broken escape at byte 1 of the path"),
        ("/%4é", "broken escape at byte 1 of the path"),
        ("/%é", "broken escape at byte 1 of the path"),
        ("/a%00", "escaped control character at byte 2 of the path"),
        ("/a%0d%0aX", "escaped control character at byte 2 of the path"),
        ("/%7f", "escaped control character at byte 1 of the path"),
        ("/%c0%ae%c0%ae/", "invalid UTF-8 at byte 1 of the path"),
        ("/a/%ff", "invalid UTF-8 at byte 3 of the path"),
        ("/%c3/%a9", "invalid UTF-8 at byte 1 of the path"),
        ("/café", "unescaped `é` at byte 4 of the path"),
        ("/a b", "unescaped ` ` at byte 2 of the path"),
        ("/a\tb", "unescaped `\\t` at byte 2 of the path"),
        ("/a\0", "unescaped `\\0` at byte 2 of the path"),
        ("/a\r\nHost: x", "unescaped `\\r` at byte 2 of the path"),
        ("/a#b", "unescaped `#` at byte 2 of the path"),
        ("/a?b", "unescaped `?` at byte 2 of the path"),
        ("/<a>", "unescaped `<` at byte 1 of the path"),
        ("/a`b", "unescaped `` at byte 2 of the path"),
    ] {
        let why = if path == "/a`b" { why.replace("``", "```") } else { why.to_owned() };
        assert_eq!(refused(path, OddTargets::Pass), why);
        assert_eq!(refused(path, OddTargets::Refuse), why);
    }
    assert_eq!(
        refused("/a%2500", OddTargets::Pass),
        "escaped control character at byte 1 of the path",
        "a server that decodes twice reads a NUL"
    );
}

#[test]
fn a_query_is_visible_and_whole() {
    for (query, why) in [
        ("a b", "unescaped ` ` at byte 1 of the query"),
        ("a#b", "unescaped `#` at byte 1 of the query"),
        ("é", "unescaped `é` at byte 0 of the query"),
        ("a\nb", "unescaped `\\n` at byte 1 of the query"),
        ("<", "unescaped `<` at byte 0 of the query"),
        ("a=%", "broken escape at byte 2 of the query"),
        ("a=%zz", "broken escape at byte 2 of the query"),
    ] {
        for odd in [OddTargets::Refuse, OddTargets::Pass] {
            assert_eq!(Target::parse("/", Some(query), odd).unwrap_err().to_string(), why);
        }
    }
    let fits = "a".repeat(TARGET_BYTES_MAX - 2);
    assert!(Target::parse("/", Some(&fits), OddTargets::Refuse).is_ok());
    assert!(Target::parse("/a", Some(&fits), OddTargets::Refuse).is_err());
}

#[test]
fn a_chain_of_escapes_takes_no_longer_than_its_length() {
    let chain = format!("/%{}2e", "25".repeat(8_000));
    assert!(refused(&chain, OddTargets::Pass).starts_with("`.` or `..` segment"));
}

#[test]
fn methods_are_names_in_upper_case() {
    for name in ["GET", "POST", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "VERSION-CONTROL", "M-SEARCH", "X"]
    {
        assert_eq!(method(name), Ok(name));
    }
    for name in ["CONNECT", "TRACE"] {
        assert_eq!(method(name), Err(BadMethod::Withheld));
    }
    let long = "A".repeat(33);
    for name in
        ["", "get", "Get", "GET ", " GET", "G T", "GET\r\n", "G/T", "-", "GET-", "GÉT", "G_T", "G1", &long]
    {
        assert_eq!(method(name), Err(BadMethod::Misshapen), "{name:?}");
    }
}

/// Cases that others collected (the WHATWG's, as the `url` crate carries them): whatever of them we accept, a
/// browser reads as we do.
#[test]
fn browsers_read_the_known_hard_cases_as_we_do() {
    let (mut accepted, mut met) = (0, 0);
    for input in hard_cases() {
        met += 1;
        for (at, _) in input.match_indices('/') {
            accepted += usize::from(agrees_with_browsers(input.split_at(at).1));
        }
    }
    assert!(met > 500 && accepted > 100, "{met} cases, {accepted} accepted");
}

fn hard_cases() -> Vec<String> {
    // The cases come with the crate's sources, which are unpacked where cargo keeps them.
    let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock")).unwrap();
    let (_, version) = lock.split_once("name = \"url\"\nversion = \"").expect("`url` is locked");
    let package = format!("url-{}", version.split('"').next().unwrap());
    let home = std::env::var_os("CARGO_HOME").map(std::path::PathBuf::from);
    let home = home.or_else(|| Some(std::path::PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let sources = home.expect("cargo has a home").join("registry/src");
    let registries = std::fs::read_dir(&sources).unwrap().map(|registry| registry.unwrap().path());
    let folder = registries.map(|registry| registry.join(&package)).find(|folder| folder.exists()).unwrap();
    let cases = std::fs::read(folder.join("tests/urltestdata.json")).unwrap();
    let cases: Vec<serde_json::Value> = serde_json::from_slice(&cases).unwrap();
    cases.iter().filter_map(|case| Some(case.get("input")?.as_str()?.to_owned())).collect()
}

/// Whether the text is accepted; if so, that the WHATWG's parser and `http::Uri` keep it as it is.
fn agrees_with_browsers(text: &str) -> bool {
    let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
    let Ok(target) = Target::parse(path, query, OddTargets::Refuse) else { return false };
    let seen = Url::parse(&format!("http://host.test{}", target.as_str())).unwrap();
    assert_eq!((seen.host_str(), seen.path()), (Some("host.test"), path));
    // Browsers escape `'` in queries; the rest stays.
    assert_eq!(seen.query().map(str::to_owned), query.map(|query| query.replace('\'', "%27")));
    carried(&target);
    true
}

/// What an HTTP library makes of an accepted target.
fn carried(target: &Target) {
    let uri: http::Uri = target.as_str().parse().unwrap();
    assert_eq!((uri.path(), uri.query()), (target.path(), target.query()));
    assert_eq!(uri.to_string(), target.as_str());
    assert!(uri.authority().is_none());
}

/// Texts that are close to the border between good and bad.
fn texts() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(
        &[
            "a", "Z", "/", "//", ".", "..", "%2e", "%2E", "%2f", "%5c", "%25", "%61", "%c3%a9", "%c0", "%00",
            "%", "%z", "\\", ";", "?", "#", " ", "é", "\u{7f}", "[", "|", "\"", "<", "`", "{", "~", "%7e",
            "%20", "@", ":", "*", "+", "'", "%3b", "%3f",
        ][..],
    );
    prop_oneof![
        4 => prop::collection::vec(pieces, 0..12).prop_map(|pieces| format!("/{}", pieces.concat())),
        1 => any::<String>().prop_map(|text| format!("/{text}")),
    ]
}

proptest! {
    #[test]
    fn an_accepted_target_is_what_others_see(text in texts()) {
        agrees_with_browsers(&text);
    }

    #[test]
    fn what_a_service_takes_is_carried_and_leads_nowhere_else(path in texts(), query in prop::option::of(texts())) {
        let Ok(target) = Target::parse(&path, query.as_deref(), OddTargets::Pass) else {
            prop_assert!(Target::parse(&path, query.as_deref(), OddTargets::Refuse).is_err());
            return Ok(());
        };
        carried(&target);
        // The browser's reading, which resolves dots and turns backslashes, has as many segments.
        let seen = Url::parse(&format!("http://host.test{}", target.path())).unwrap();
        let segments = |path: &str| path.split(['/', '\\']).count();
        prop_assert_eq!(segments(seen.path()), segments(target.path()));
    }

    #[test]
    fn a_refusal_is_short_and_plain(path: String, query: String) {
        if let Err(bad) = Target::parse(&path, Some(&query), OddTargets::Refuse) {
            let said = bad.to_string();
            prop_assert!(!said.chars().any(char::is_control) && said.chars().count() < 160);
        }
    }
}
