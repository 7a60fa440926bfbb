//! An upstream that echoes a secret in every encoding, under every coding, cut at every byte.

use std::task::Waker;

use http_body_util::BodyExt;

use super::*;
use crate::flow::{
    decode,
    decode::tests::{CODINGS, Script, chunks, collect, drain, encode},
    whole,
};

const SECRET: &str = "s3cr=t/\"canary\"\n+ü%~8f0c2a";

/// The secret as Python, PHP, .NET, JavaScript and `base64` write it, and what they leave of it when each byte
/// that tells something is masked.
const ENCODINGS: [(&str, &str); 14] = [
    (SECRET, "***************************"),
    (r#"s3cr=t/\"canary\"\n+ü%~8f0c2a"#, "******************************"),
    (r#"s3cr=t/\"canary\"\n+\u00fc%~8f0c2a"#, "**********************************"),
    (r#"s3cr=t\/\"canary\"\n+\u00fc%~8f0c2a"#, "***********************************"),
    (r"s3cr=t/\u0022canary\u0022\n\u002B\u00FC%~8f0c2a", "***********************************************"),
    ("s3cr%3Dt%2F%22canary%22%0A%2B%C3%BC%25~8f0c2a", "*********************************************"),
    ("s3cr%3dt%2f%22canary%22%0a%2b%c3%bc%25~8f0c2a", "*********************************************"),
    ("s3cr%3Dt%2F%22canary%22%0A%2B%C3%BC%25%7E8f0c2a", "***********************************************"),
    (
        "733363723d742f2263616e617279220a2bc3bc257e386630633261",
        "******************************************************",
    ),
    (
        "733363723D742F2263616E617279220A2BC3BC257E386630633261",
        "******************************************************",
    ),
    ("czNjcj10LyJjYW5hcnkiCivDvCV+OGYwYzJh", "************************************"),
    ("a3MzY3I9dC8iY2FuYXJ5Igorw7wlfjhmMGMyYTt+", "a3***********************************Tt+"),
    ("aWRzM2NyPXQvImNhbmFyeSIKK8O8JX44ZjBjMmH/", "aWR***********************************H/"),
    ("a3MzY3I9dC8iY2FuYXJ5Igorw7wlfjhmMGMyYTt-", "a3***********************************Tt-"),
];

fn masker() -> Masker {
    Masker::new(&[SECRET.as_bytes()]).unwrap().unwrap()
}

/// Events in which every encoding stands, 4 KiB together, each with what is to come out.
fn echo() -> Vec<(Vec<u8>, Vec<u8>)> {
    let event = |n: usize, value: &str| format!("data: {{\"n\":{n},\"sent\":\"{value}\"}}\n\n").into_bytes();
    let all =
        ENCODINGS.iter().cycle().enumerate().map(|(n, (given, masked))| (event(n, given), event(n, masked)));
    let mut bytes = 0;
    all.take_while(|(given, _)| {
        let more = bytes < 4 << 10;
        bytes += given.len();
        more
    })
    .collect()
}

#[test]
fn no_coding_and_no_cut_lets_a_secret_through() {
    let (given, expected): (Vec<_>, Vec<_>) = echo().into_iter().unzip();
    let (given, expected) = (given.concat(), expected.concat());
    let masker = masker();
    let bytes_max = given.len() as u64;
    let check = |flow: Flow, what: &str, cut: usize| {
        let got = collect(Mask::new(flow, masker.clone()).boxed_unsync()).unwrap();
        assert!(got == expected, "{what} cut at {cut}: {}", got.escape_ascii());
    };
    for cut in 0..=given.len() {
        let (first, second) = given.split_at(cut);
        check(chunks([first, second]), "identity", cut);
    }
    check(chunks(given.chunks(1)), "identity", 1);
    for (name, coding) in CODINGS {
        let coded = encode(name, &[&given]).concat();
        for cut in 0..=coded.len() {
            let (first, second) = coded.split_at(cut);
            check(decode(chunks([first, second]), &[coding], bytes_max), name, cut);
        }
        check(decode(chunks(coded.chunks(1)), &[coding], bytes_max), name, 1);
    }
}

#[test]
fn an_event_without_a_secret_does_not_wait() {
    let events = echo();
    let steps = events.iter().flat_map(|(given, _)| [Some(Frame::data(given.clone().into())), None]);
    let mut flow = Mask::new(Script::flow(steps), masker()).boxed_unsync();
    for (_, expected) in &events {
        assert_eq!(drain(&mut flow), (expected.clone(), Poll::Pending));
    }
}

#[test]
fn a_clean_body_is_handed_on_and_not_copied() {
    let body = Bytes::from_static(b"{\"clean\":true}\n");
    let mut flow = Mask::new(whole(body.clone()), masker());
    assert_eq!(flow.size_hint().exact(), Some(15));
    let mut context = Context::from_waker(Waker::noop());
    let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut flow).poll_frame(&mut context) else { panic!() };
    assert_eq!(frame.into_data().unwrap().as_ptr(), body.as_ptr());
    assert!(flow.is_end_stream(), "known as the last frame once it is handed out");
    assert_eq!(flow.size_hint().exact(), Some(0));
}

#[test]
fn the_length_is_known_all_the_way() {
    let body = format!("x{SECRET}y{}", SECRET.get(..9).unwrap());
    let mut left = body.len() as u64;
    let mut flow = Mask::new(whole(body), masker());
    let mut context = Context::from_waker(Waker::noop());
    while !flow.is_end_stream() {
        assert_eq!(flow.size_hint().exact(), Some(left));
        let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut flow).poll_frame(&mut context) else { panic!() };
        left -= frame.data_ref().unwrap().len() as u64;
    }
    assert_eq!(left, 0);
}

#[test]
fn the_beginning_of_a_secret_comes_out_at_an_end_and_never_before_a_break() {
    let begun = Bytes::copy_from_slice(&SECRET.as_bytes()[..20]);
    let ended = Mask::new(whole(begun.clone()), masker()).boxed_unsync();
    assert_eq!(collect(ended).unwrap(), begun);

    let frames = [Ok(Frame::data(begun)), Err(Broken::TooSlow)];
    let broken = http_body_util::StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
    let mut flow = Mask::new(broken, masker()).boxed_unsync();
    assert_eq!(drain(&mut flow), (Vec::new(), Poll::Ready(Err(Broken::TooSlow))));
    assert_eq!(drain(&mut flow), (Vec::new(), Poll::Ready(Ok(()))));
}

#[test]
fn trailers_and_headers_are_masked_too() {
    let mut headers = HeaderMap::new();
    headers.append("x-echo", HeaderValue::from_bytes(SECRET.replace('\n', "").as_bytes()).unwrap());
    headers
        .append("x-echo", HeaderValue::from_static("key=s3cr%3Dt%2F%22canary%22%0A%2B%C3%BC%25~8f0c2a;v=1"));
    headers.append("x-clean", HeaderValue::from_static("clean"));
    let expected = [
        // Without its line break it is not the secret.
        SECRET.replace('\n', ""),
        "key=*********************************************;v=1".to_owned(),
        "clean".to_owned(),
    ];
    let values = |headers: &HeaderMap| -> Vec<String> {
        headers.values().map(|value| String::from_utf8(value.as_bytes().to_vec()).unwrap()).collect()
    };
    let mut masked = headers.clone();
    mask_headers(&masker(), &mut masked);
    assert_eq!(values(&masked), expected);

    // What is held back comes out in front of the trailers.
    let steps = [Frame::data(Bytes::from_static(b"ends with s3cr")), Frame::trailers(headers)].map(Some);
    let mut flow = Mask::new(Script::flow(steps), masker());
    let mut context = Context::from_waker(Waker::noop());
    let mut next = || match Pin::new(&mut flow).poll_frame(&mut context) {
        Poll::Ready(frame) => frame.map(Result::unwrap),
        Poll::Pending => panic!("it pauses"),
    };
    assert_eq!(next().unwrap().into_data().unwrap(), "ends with ");
    assert_eq!(next().unwrap().into_data().unwrap(), "s3cr");
    assert_eq!(values(&next().unwrap().into_trailers().unwrap()), expected);
    assert!(next().is_none());
}
