//! Our own cases for the strict reader, written by hand: where parsers are known to differ, one byte apart.
//! They include raw invalid UTF-8, which the packaged suite no longer has.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail loudly")]

use wire::Limits;
use wire::json::read;

const LIMITS: Limits = Limits::of_bytes(1 << 16);

const ACCEPTED: &[&[u8]] = &[
    b"{}",
    b"[]",
    b"\"\"",
    b"0",
    b"-0",
    b"true",
    b"false",
    b"null",
    b" \t\r\n1\t\r\n ",
    b"1E5",
    b"1e-0",
    b"-0.0e+00",
    b"12345678901234567890123",
    b"1e999999999999999999999",
    b"0.000000000000000000000000000001",
    b"{\"\":\"\"}",
    b"{\"a\":{\"a\":{\"a\":[]}}}",
    b"[[],[],{},{}]",
    b"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
    b"\"\\u0000\"",
    b"\"\\uFFFF\\uffff\\uFfFe\"",
    b"\"\\ud83d\\ude00\"",
    b"\"\x7f\"",
    b"\"/* no comment */\"",
    "\"\u{2028}\u{2029}\u{feff}\u{202e}\u{e000}\u{10ffff}\"".as_bytes(),
    "{\"é\":1,\"e\u{301}\":2}".as_bytes(),
    b"{\"a\":1,\"A\":2,\"a \":3,\" a\":4}",
    b"{\"__proto__\":{},\"constructor\":1}",
];

const REFUSED: &[&[u8]] = &[
    b"",
    b" ",
    b"\xef\xbb\xbf{}",
    b"\xff\xfe{\0}\0",
    b"{}{}",
    b"{}\0",
    b"{} //",
    b"1 2",
    b"[1,]",
    b"[,1]",
    b"[1,,2]",
    b"[1 2]",
    b"[1;2]",
    b"{\"a\":1,}",
    b"{,\"a\":1}",
    b"{\"a\"}",
    b"{\"a\":}",
    b"{\"a\",1}",
    b"{\"a\"=1}",
    b"{\"a\":1 \"b\":2}",
    b"{a:1}",
    b"{'a':1}",
    b"{1:1}",
    b"['a']",
    b"[`a`]",
    b"[1}",
    b"{\"a\":1]",
    b"[",
    b"]",
    b"{",
    b"{\"a\":[",
    b"\"",
    b"\"\\",
    b"\"\\\"",
    b"\"\\a\"",
    b"\"\\'\"",
    b"\"\\0\"",
    b"\"\\x41\"",
    b"\"\\u\"",
    b"\"\\u004\"",
    b"\"\\u004g\"",
    b"\"\\U0041\"",
    b"\"\\u{41}\"",
    b"\"\\u+041\"",
    b"\"\\u 041\"",
    b"\"\\ud800\"",
    b"\"\\udc00\"",
    b"\"\\ude00\\ud83d\"",
    b"\"\\ud83d\\ud83d\\ude00\"",
    b"\"\\ud83d \\ude00\"",
    b"\"a\nb\"",
    b"\"a\tb\"",
    b"\"\0\"",
    b"\"\x1f\"",
    b"\"\x80\"",
    b"\"\xc0\x80\"",
    b"\"\xc1\xbf\"",
    b"\"\xe0\x80\x80\"",
    b"\"\xed\xa0\xbd\xed\xb8\x80\"",
    b"\"\xf0\x9f\x98\"",
    b"\"\xf5\x80\x80\x80\"",
    b"{\"\xff\":1}",
    b"\xff",
    b"01",
    b"-01",
    b"00",
    b"+1",
    b"-",
    b"- 1",
    b".5",
    b"5.",
    b"5.e1",
    b"1e",
    b"1e+",
    b"1e1.5",
    b"1E+-1",
    b"0x10",
    b"0b1",
    b"1_000",
    b"1,000",
    "\u{ff11}".as_bytes(),
    b"NaN",
    b"-NaN",
    b"Infinity",
    b"-Infinity",
    b"True",
    b"FALSE",
    b"nul",
    b"nulll",
    b"undefined",
    b"// c\n1",
    b"/* c */1",
    b"#c\n1",
    b"1\x0b",
    b"1\x0c",
    b"\xc2\xa01",
    b"\xe2\x80\x8b1",
    b"{\"a\":1,\"a\":1}",
    b"{\"a\":1,\"b\":2,\"a\":3}",
    b"{\"a\":1,\"\\u0061\":1}",
    b"{\"\\u0041\":1,\"\\u0041\":1}",
    b"{\"\":1,\"\":1}",
    b"{\"/\":1,\"\\/\":1}",
    b"[{\"x\":{\"k\":1,\"k\":1}}]",
];

#[test]
fn our_own_cases_get_their_verdict() {
    assert!(ACCEPTED.len() + REFUSED.len() >= 60);
    for case in ACCEPTED {
        if let Err(refusal) = read(case, &LIMITS) {
            panic!("{:?} was refused: {refusal}", String::from_utf8_lossy(case));
        }
    }
    for case in REFUSED {
        assert!(read(case, &LIMITS).is_err(), "{:?} was accepted", String::from_utf8_lossy(case));
    }
}

#[test]
fn every_refusal_is_one_short_line() {
    for case in REFUSED {
        let message = read(case, &LIMITS).unwrap_err().to_string();
        assert!(message.chars().count() < 160 && !message.chars().any(char::is_control), "{message:?}");
    }
}

#[test]
fn every_beginning_of_a_document_is_refused() {
    let document = r#"{"a":[1.5e3,"\ud83d\ude00é",true,null,{}],"b":"c"}"#;
    for (end, _) in document.char_indices() {
        let (beginning, _) = document.split_at(end);
        assert!(read(beginning.as_bytes(), &LIMITS).is_err(), "{beginning}");
    }
    read(document.as_bytes(), &LIMITS).unwrap();
}
