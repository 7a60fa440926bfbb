//! What [`Masker`] and [`Stream`] promise. The encodings here are made by other hands than those of `forms.rs`.

use base64::{Engine as _, prelude::*};
use proptest::prelude::*;

use super::*;

/// `given` with every secret masked.
fn masked(masker: &Masker, given: &str) -> String {
    let changed = masker.mask(given.as_bytes());
    changed.map_or_else(|| given.to_owned(), |bytes| String::from_utf8(bytes).unwrap())
}

/// Whatever encoders might trip over.
fn secrets() -> Vec<Vec<u8>> {
    let pem =
        format!("-----BEGIN PRIVATE KEY-----\n{}-----END PRIVATE KEY-----\n", "MIIEvQ/+".repeat(8) + "\n");
    let long: String = ('!'..='~').chain(['é', '\n', '世', ' ', '🔑']).cycle().take(8 << 10).collect();
    vec![
        b"a secret".to_vec(),
        b"sk_live_51Habcdefghijklmnopqrstuvwxyz0123456".to_vec(),
        b"with \"quotes\", back\\slash/slash\nand\ttab".to_vec(),
        b"100% <of>&'it'=?+ ~*!()`;".to_vec(),
        "pässwörd – 日本語 🔑\u{2028}\u{7f}\u{1}".as_bytes().to_vec(),
        vec![0xff, 0, 0x80, b'a', b'"', 0xe9, b'/', b'+', 0xfe],
        b"aaaaaaaaaaaaaaaa".to_vec(),
        pem.into_bytes(),
        long.into_bytes(),
    ]
}

fn masker(secrets: &[&[u8]]) -> Masker {
    Masker::new(secrets).unwrap().unwrap()
}

/// `\uXXXX` for whatever `escape` says, the short forms for the rest.
fn json(text: &str, escape: impl Fn(char) -> bool, upper: bool) -> String {
    let mut out = String::new();
    for char in text.chars() {
        if !escape(char) {
            let quoted = serde_json::to_string(&char).unwrap();
            out.push_str(quoted.get(1..quoted.len() - 1).unwrap());
            continue;
        }
        for unit in char.to_string().encode_utf16() {
            out.push_str(&if upper { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") });
        }
    }
    out
}

fn percent(bytes: &[u8], kept: &str, upper: bool) -> String {
    bytes
        .iter()
        .map(|&byte| match char::from(byte) {
            char if char.is_ascii_alphanumeric() || kept.contains(char) => char.to_string(),
            _ if upper => format!("%{byte:02X}"),
            _ => format!("%{byte:02x}"),
        })
        .collect()
}

/// Each encoding of `secret` in some surroundings, and where in it the secret lies.
fn encodings(secret: &[u8]) -> Vec<(&'static str, Vec<u8>, Range<usize>)> {
    let mut all = Vec::new();
    let mut add = |name, bytes: Vec<u8>| {
        let len = bytes.len();
        all.push((name, [b"<<", &bytes[..], b">>"].concat(), 2..2 + len));
    };
    add("raw", secret.to_vec());
    add("hex", secret.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into());
    add("HEX", secret.iter().map(|byte| format!("{byte:02X}")).collect::<String>().into());
    add("percent", percent(secret, "-._~", true).into());
    add("percent, lower case", percent(secret, "-._~", false).into());
    add("percent, form", percent(secret, "*-._ ", true).replace(' ', "+").into());
    add("percent, component", percent(secret, "-_.!~*'()", true).into());
    add("percent, twice", percent(percent(secret, "-._~", true).as_bytes(), "-._~", true).into());
    // A reader of headers that takes bytes for characters, and then says so in UTF-8.
    let latin: String = secret.iter().copied().map(char::from).collect();
    add("latin", latin.clone().into());
    add("latin JSON", json(&latin, |char| char > '~', false).into());
    if let Ok(text) = std::str::from_utf8(secret) {
        let minimal = json(text, |_| false, false);
        add("JSON", minimal.clone().into());
        add("JSON in JSON", json(&minimal, |_| false, false).into());
        add("JSON, solidus", minimal.replace('/', "\\/").into());
        add("JSON, ASCII", json(text, |char| char > '~', false).into());
        add("JSON, ASCII, upper case", json(text, |char| !char.is_ascii(), true).into());
        add("JSON, HTML-safe", json(text, |char| "<>&\u{2028}\u{2029}".contains(char), false).into());
        add("JSON, .NET", json(text, |char| char > '~' || "<>&'\"+`".contains(char), true).into());
        let html =
            text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
        add("HTML", html.replace('\'', "&#39;").into());
    }
    for before in 0..3 {
        for after in 0..3 {
            let text = [&b"id:"[..before], secret, &b"\xff~ "[..after]].concat();
            let from = (8 * before).div_ceil(6);
            let to = 8 * (before + secret.len()) / 6;
            for (name, encoded) in [
                ("base64", BASE64_STANDARD.encode(&text)),
                ("base64, bare", BASE64_STANDARD_NO_PAD.encode(&text)),
                ("base64, URL", BASE64_URL_SAFE.encode(&text)),
                ("base64, URL, bare", BASE64_URL_SAFE_NO_PAD.encode(&text)),
            ] {
                all.push((name, encoded.into_bytes(), from..to));
            }
            // The first and last character may have become several.
            let encoded = BASE64_STANDARD.encode(&text);
            let encoded = encoded.get(from..to).unwrap();
            for escaped in [
                encoded.replace('/', "\\/"),
                encoded.replace('+', "\\u002B"),
                percent(encoded.as_bytes(), "", true),
            ] {
                let len = escaped.len();
                all.push(("base64, escaped", escaped.into_bytes(), 0..len));
            }
        }
    }
    all
}

/// What a masker must do, as slowly as it can be said.
fn naive(forms: &[Vec<u8>], bytes: &[u8]) -> Vec<u8> {
    let mut masked = bytes.to_vec();
    for at in 0..bytes.len() {
        for form in forms.iter().filter(|form| bytes[at..].starts_with(form)) {
            masked[at..at + form.len()].fill(b'*');
        }
    }
    masked
}

/// All bytes that come out when `bytes` are cut after each of `cuts`.
fn streamed(masker: &Masker, bytes: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut stream = Stream::new(masker.clone());
    let mut out = Vec::new();
    let mut from = 0;
    for to in cuts.iter().copied().chain([bytes.len()]) {
        stream
            .push(Bytes::copy_from_slice(&bytes[from..to]))
            .iter()
            .for_each(|part| out.extend_from_slice(part));
        from = to;
    }
    out.extend_from_slice(&stream.finish());
    out
}

/// Text of letters and digits that nobody encoded a secret into.
fn filler(len: usize, mut seed: u64) -> Vec<u8> {
    let signs = b"abcdefghijklmnopqrstuvwxyz ABCDEF 0123456789 {}[]\":,\\%+/=\n";
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        signs[(seed >> 33) as usize % signs.len()]
    };
    (0..len).map(|_| next()).collect()
}

#[test]
fn every_encoding_of_every_secret_is_masked_and_nothing_else() {
    for secret in secrets() {
        let masker = masker(&[&secret]);
        for (name, encoded, within) in encodings(&secret) {
            let masked = masker.mask(&encoded).unwrap_or_else(|| panic!("{name}: nothing found"));
            assert_eq!(masked.len(), encoded.len());
            assert!(
                masked[within.clone()].iter().all(|&byte| byte == b'*'),
                "{name}: {:?}",
                encoded.escape_ascii()
            );
            // At most the character of base64 that holds the last bits as well.
            let outside =
                |bytes: &[u8]| [&bytes[..within.start], &bytes[bytes.len().min(within.end + 1)..]].concat();
            assert_eq!(outside(&masked), outside(&encoded), "{name}");
        }
    }
}

#[test]
fn no_cut_lets_a_secret_through() {
    for secret in secrets().iter().filter(|secret| secret.len() < 100) {
        let masker = masker(&[secret]);
        let mut body = Vec::new();
        for (seed, (_, encoded, _)) in (1..).zip(encodings(secret)) {
            body.extend(filler(7, seed));
            body.extend(encoded);
        }
        body.truncate(4 << 10);
        let whole = naive(&forms::of(secret), &body);
        assert_eq!(masker.mask(&body).unwrap(), whole);
        for cut in 0..=body.len() {
            assert!(streamed(&masker, &body, &[cut]) == whole, "cut at {cut}");
        }
        assert_eq!(streamed(&masker, &body, &(1..body.len()).collect::<Vec<_>>()), whole);
    }
}

#[test]
fn overlapping_secrets_are_all_covered() {
    let masker = masker(&[b"abcdefgh", b"efghijkl", b"abcdefghijklmnop"]);
    for (given, expected) in [
        ("abcdefgh", "********"),
        ("abcdefghijkl", "************"),
        ("abcdefghijklmno", "************mno"),
        ("abcdefghijklmnop", "****************"),
        ("abcdabcdefghefgh", "abcd********efgh"),
        ("-efghijklabcdefghijkl-", "-********************-"),
    ] {
        assert_eq!(masked(&masker, given), expected);
        for cut in 0..given.len() {
            assert_eq!(streamed(&masker, given.as_bytes(), &[cut]), expected.as_bytes());
        }
    }
    // A secret that overlaps itself.
    let own = self::masker(&[b"abababab"]);
    assert_eq!(masked(&own, "xababababababx"), "x************x");
}

#[test]
fn only_the_beginning_of_a_secret_waits() {
    let mut stream = Stream::new(masker(&[b"topsecret", b"topsecret-and-more"]));
    let mut push = |text: &'static str| {
        let parts = stream.push(Bytes::from_static(text.as_bytes()));
        (String::from_utf8(parts.concat()).unwrap(), stream.held_bytes())
    };
    assert_eq!(push("data: {\"a\": 1}\n\n"), ("data: {\"a\": 1}\n\n".into(), 0));
    assert_eq!(push("data: tops"), ("data: ".into(), 4));
    assert_eq!(push("e"), (String::new(), 5));
    assert_eq!(push("lf"), ("topself".into(), 0));
    // What is masked need not wait, though the longer secret may still follow.
    assert_eq!(push("topsecret"), ("*********".into(), 0));
    assert_eq!(push("-and-"), (String::new(), 5));
    assert_eq!(push("more!"), ("*********!".into(), 0));
    // The beginning of the beginning.
    assert_eq!(push("toptop"), ("top".into(), 3));
    assert_eq!(&stream.finish()[..], b"top");
}

#[test]
fn a_clean_body_passes_as_the_same_bytes() {
    let owned = secrets();
    let secrets: Vec<&[u8]> = owned.iter().map(Vec::as_slice).filter(|secret| secret.len() < 1_000).collect();
    let masker = masker(&secrets);
    let mut stream = Stream::new(masker.clone());
    let body = Bytes::from_static(b"event: message\ndata: {\"text\":\"100 percent clean\"}\n\n");
    let [first, second] = stream.push(body.clone());
    assert!(first.is_empty());
    assert_eq!((second.as_ptr(), second.len()), (body.as_ptr(), body.len()), "no copy was made");

    for seed in 0..100_000 {
        let body = Bytes::from(filler(seed % 200, seed as u64));
        assert!(masker.mask(&body).is_none());
        let cut = seed / 200 % (body.len() + 1);
        assert_eq!(streamed(&masker, &body, &[cut]), body);
    }
}

#[test]
fn short_secrets_are_not_covered_and_long_ones_not_accepted() {
    assert!(!Masker::covers(b"1234567") && Masker::covers(b"12345678"));
    assert!(Masker::new(&[]).unwrap().is_none());
    assert!(Masker::new(&[b"1234567", b""]).unwrap().is_none());
    let masker = masker(&[b"1234567", b"12345678"]);
    assert_eq!(masked(&masker, "1234567 12345678"), "1234567 ********");
    let long = vec![b'x'; SECRET_BYTES_MAX + 1];
    assert_eq!(Masker::new(&[&long]).err().unwrap(), TooLong { bytes: SECRET_BYTES_MAX + 1 });
    assert!(Masker::new(&[&long[1..]]).is_ok());
}

#[test]
fn a_plain_secret_has_few_forms() {
    let forms = forms::of(b"sk_live_51Habcdefghijklmnopqrstuvwxyz012");
    assert!(forms.len() <= 24, "{}", forms.len());
}

proptest! {
    /// Few letters, so that secrets overlap themselves and each other.
    #[test]
    fn a_stream_is_masked_as_the_whole_is(
        secrets in prop::collection::vec("[ab/]{8,12}|[a\"\\\\é]{8,10}|[ab]{1,9}", 1..4),
        pieces in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), "[ab/\"%é]{0,4}"), 0..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let secrets: Vec<&[u8]> = secrets.iter().map(|secret| secret.as_bytes()).collect();
        let forms: Vec<Vec<u8>> =
            secrets.iter().filter(|secret| Masker::covers(secret)).flat_map(|secret| forms::of(secret)).collect();
        let Some(masker) = Masker::new(&secrets).unwrap() else {
            prop_assert!(forms.is_empty());
            return Ok(());
        };
        let mut body = Vec::new();
        for (form, end, noise) in &pieces {
            let form = form.get(&forms);
            body.extend_from_slice(&form[..end.index(form.len() + 1)]);
            body.extend_from_slice(noise.as_bytes());
        }
        let expected = naive(&forms, &body);
        prop_assert_eq!(masker.mask(&body).unwrap_or(body.clone()), expected.clone());
        prop_assert!(forms.iter().all(|form| !expected.windows(form.len()).any(|window| window == form)));

        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
        cuts.sort_unstable();
        cuts.push(body.len());
        let mut stream = Stream::new(masker);
        let (mut out, mut from) = (Vec::new(), 0);
        for to in cuts {
            let parts = stream.push(Bytes::copy_from_slice(&body[from..to]));
            parts.iter().for_each(|part| out.extend_from_slice(part));
            from = to;
            // Nothing waits that is not the beginning of a form.
            let waiting = (0..to).find(|&at| {
                forms.iter().any(|form| form.len() > to - at && form.starts_with(&body[at..to]))
            });
            prop_assert!(out.len() >= waiting.unwrap_or(to));
            prop_assert_eq!(out.len() + stream.held_bytes(), to);
        }
        out.extend_from_slice(&stream.finish());
        prop_assert_eq!(out, expected);
    }

    /// Much of the text is passed over unread; nothing of a form may be.
    #[test]
    fn a_secret_is_found_wherever_it_stands(
        secret in "[!-~]{8,60}", form in any::<prop::sample::Index>(), before in "[ -~]{0,100}", after in "[ -~]{0,100}",
        cut in any::<prop::sample::Index>(),
    ) {
        let forms = forms::of(secret.as_bytes());
        let form: &[u8] = form.get::<Vec<u8>>(&forms);
        let body = [before.as_bytes(), form, after.as_bytes()].concat();
        let masker = masker(&[secret.as_bytes()]);
        let expected = naive(&forms, &body);
        prop_assert_eq!(masker.mask(&body), Some(expected.clone()));
        prop_assert_eq!(streamed(&masker, &body, &[cut.index(body.len() + 1)]), expected);
    }

    #[test]
    fn text_without_a_secret_stays_as_it_is(secret in "[!-~]{8,40}", text in "\\PC*") {
        prop_assume!(!text.contains(&secret));
        let masker = masker(&[secret.as_bytes()]);
        prop_assert_eq!(masked(&masker, &text), text.as_str());
    }
}

#[test]
fn a_secret_that_became_a_name_in_lower_case_is_found() {
    let masker = Masker::new(&[b"Sk-Live_9F3C"]).unwrap().unwrap();
    assert_eq!(masked(&masker, "x-sk-live_9f3c-y"), "x-************-y");
}
