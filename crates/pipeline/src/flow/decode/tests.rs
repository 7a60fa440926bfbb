//! Bodies as servers code them: whole, cut anywhere, damaged, and made to exhaust us.

use std::{collections::VecDeque, io::Write as _, task::Waker};

use flate2::{
    Compression,
    write::{DeflateEncoder, GzEncoder, ZlibEncoder},
};
use http::HeaderValue;
use proptest::prelude::*;
use zstd_safe::{CCtx, CParameter};

use super::*;
use crate::flow::whole;

/// Frames as they are given, and a pause wherever there is `None`.
pub(in crate::flow) struct Script(VecDeque<Option<Frame<Bytes>>>);

impl Script {
    pub(in crate::flow) fn flow(steps: impl IntoIterator<Item = Option<Frame<Bytes>>>) -> Flow {
        Self(steps.into_iter().collect()).boxed_unsync()
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.0.pop_front() {
            None => Poll::Ready(None),
            Some(None) => Poll::Pending,
            Some(Some(frame)) => Poll::Ready(Some(Ok(frame))),
        }
    }
}

pub(in crate::flow) fn chunks<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Flow {
    Script::flow(chunks.into_iter().map(|chunk| Some(Frame::data(Bytes::copy_from_slice(chunk)))))
}

/// All that can be had without waiting: data, then whether it ended, broke, or pauses.
pub(in crate::flow) fn drain(flow: &mut Flow) -> (Vec<u8>, Poll<Result<(), Broken>>) {
    let mut context = Context::from_waker(Waker::noop());
    let mut out = Vec::new();
    loop {
        match Pin::new(&mut *flow).poll_frame(&mut context) {
            Poll::Pending => return (out, Poll::Pending),
            Poll::Ready(None) => return (out, Poll::Ready(Ok(()))),
            Poll::Ready(Some(Err(broken))) => return (out, Poll::Ready(Err(broken))),
            Poll::Ready(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    assert!(data.len() <= FRAME_BYTES);
                    out.extend_from_slice(&data);
                }
            }
        }
    }
}

/// What comes out of `flow`, which never pauses.
pub(in crate::flow) fn collect(mut flow: Flow) -> Result<Vec<u8>, Broken> {
    match drain(&mut flow) {
        (out, Poll::Ready(end)) => end.map(|()| out),
        (_, Poll::Pending) => panic!("it pauses"),
    }
}

/// `parts` in one coding, each flushed so that a reader can have it before the next one.
pub(in crate::flow) fn encode(name: &str, parts: &[&[u8]]) -> Vec<Vec<u8>> {
    macro_rules! write_all {
        ($encoder:expr, $finish:expr) => {{
            let mut encoder = $encoder;
            let mut coded = Vec::new();
            for part in parts {
                encoder.write_all(part).unwrap();
                encoder.flush().unwrap();
                coded.push(std::mem::take(encoder.get_mut()));
            }
            coded.push($finish(encoder));
            coded
        }};
    }
    let level = Compression::new(6);
    match name {
        "gzip" => write_all!(GzEncoder::new(Vec::new(), level), |e: GzEncoder<_>| e.finish().unwrap()),
        "zlib" => write_all!(ZlibEncoder::new(Vec::new(), level), |e: ZlibEncoder<_>| e.finish().unwrap()),
        "deflate" => {
            write_all!(DeflateEncoder::new(Vec::new(), level), |e: DeflateEncoder<_>| e.finish().unwrap())
        }
        "br" => write_all!(
            ::brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22),
            ::brotli::CompressorWriter::into_inner
        ),
        "zstd" => zstd(parts),
        other => panic!("{other}"),
    }
}

fn zstd(parts: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut encoder = CCtx::create();
    encoder.set_parameter(CParameter::ChecksumFlag(true)).unwrap();
    let mut coded = Vec::new();
    for part in parts {
        let mut out = vec![0; 2 * part.len() + 1024];
        let mut target = zstd_safe::OutBuffer::around(&mut out[..]);
        let mut source = zstd_safe::InBuffer::around(part);
        while source.pos < part.len() {
            encoder.compress_stream(&mut target, &mut source).unwrap();
        }
        assert_eq!(encoder.flush_stream(&mut target).unwrap(), 0);
        let len = target.pos();
        coded.push(out[..len].to_vec());
    }
    let mut out = vec![0; 1024];
    let mut target = zstd_safe::OutBuffer::around(&mut out[..]);
    assert_eq!(encoder.end_stream(&mut target).unwrap(), 0);
    let len = target.pos();
    coded.push(out[..len].to_vec());
    coded
}

/// How the encoders above are named, and what `Content-Encoding` says of them.
pub(in crate::flow) const CODINGS: [(&str, Coding); 5] = [
    ("gzip", Coding::Gzip),
    ("zlib", Coding::Deflate),
    ("deflate", Coding::Deflate),
    ("br", Coding::Brotli),
    ("zstd", Coding::Zstd),
];

/// Compressible, but not all the same.
fn text(len: usize) -> Vec<u8> {
    (0_u32..)
        .flat_map(|n| format!("{{\"line\":{n},\"square\":{}}}\n", n.wrapping_mul(n)).into_bytes())
        .take(len)
        .collect()
}

fn headers(values: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(header::CONTENT_ENCODING, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

#[test]
fn every_coding_is_undone_however_it_is_cut() {
    let plain = text(3_000);
    for (name, coding) in CODINGS {
        let coded = encode(name, &[&plain[..1_000], &plain[1_000..]]).concat();
        assert!(coded.len() < plain.len());
        for cut in 0..=coded.len() {
            let (first, second) = coded.split_at(cut);
            let flow = decode(chunks([first, second]), &[coding], 3_000);
            assert_eq!(collect(flow).as_deref(), Ok(&plain[..]), "{name} cut at {cut}");
        }
        let flow = decode(chunks(coded.chunks(1)), &[coding], 3_000);
        assert_eq!(collect(flow).as_deref(), Ok(&plain[..]), "{name} byte by byte");
    }
}

#[test]
fn what_is_larger_than_a_frame_comes_out_whole() {
    let plain = text(1 << 20);
    for (name, coding) in CODINGS {
        let coded = encode(name, &[&plain]).concat();
        let flow = decode(whole(coded), &[coding], 1 << 20);
        assert!(collect(flow).as_deref() == Ok(&plain[..]), "{name}");
    }
}

#[test]
fn an_event_is_handed_on_before_the_next_one_comes() {
    let events: Vec<Vec<u8>> = (0..20).map(|n| format!("data: {{\"event\":{n}}}\n\n").into_bytes()).collect();
    let events: Vec<&[u8]> = events.iter().map(Vec::as_slice).collect();
    for (name, coding) in CODINGS {
        let parts = encode(name, &events);
        let steps = parts.into_iter().flat_map(|part| [Some(Frame::data(part.into())), None]);
        let mut flow = decode(Script::flow(steps), &[coding], u64::MAX);
        for event in &events {
            let (got, now) = drain(&mut flow);
            assert_eq!((got.as_slice(), now), (*event, Poll::Pending), "{name}");
        }
        assert_eq!(drain(&mut flow), (Vec::new(), Poll::Pending), "{name}");
        assert_eq!(drain(&mut flow), (Vec::new(), Poll::Ready(Ok(()))), "{name}");
    }
}

#[test]
fn two_codings_are_undone_the_last_one_first() {
    let plain = text(20_000);
    for (first, inner) in CODINGS {
        for (second, outer) in CODINGS {
            let coded = encode(second, &[&encode(first, &[&plain]).concat()]).concat();
            let flow = decode(chunks(coded.chunks(100)), &[inner, outer], 20_000);
            assert_eq!(collect(flow).as_deref(), Ok(&plain[..]), "{first}, {second}");
        }
    }
}

#[test]
fn members_and_frames_follow_each_other() {
    for name in ["gzip", "zstd"] {
        let coded = [encode(name, &[b"one, "]).concat(), encode(name, &[b"two"]).concat()].concat();
        let coding = if name == "gzip" { Coding::Gzip } else { Coding::Zstd };
        for cut in 0..coded.len() {
            let flow = decode(chunks([&coded[..cut], &coded[cut..]]), &[coding], 100);
            assert_eq!(collect(flow).as_deref(), Ok(&b"one, two"[..]));
        }
    }
}

#[test]
fn a_head_of_gzip_may_say_more() {
    let mut encoder = flate2::GzBuilder::new()
        .extra(vec![7; 300])
        .filename("name.txt")
        .comment("a comment")
        .write(Vec::new(), Compression::fast());
    encoder.write_all(b"text").unwrap();
    let mut coded = encoder.finish().unwrap();
    assert_eq!(collect(decode(chunks(coded.chunks(1)), &[Coding::Gzip], 100)).as_deref(), Ok(&b"text"[..]));
    // A check over the head, which we read past.
    let head = coded.iter().rposition(|&byte| byte == 0).unwrap();
    let end = 10 + 2 + 300 + 9 + 10;
    assert!(head > end);
    coded[3] |= FLAG_HEAD_CHECK;
    coded.splice(end..end, [1, 2]);
    assert_eq!(collect(decode(whole(coded.clone()), &[Coding::Gzip], 100)).as_deref(), Ok(&b"text"[..]));
    coded[3] |= 0x80;
    assert!(collect(decode(whole(coded), &[Coding::Gzip], 100)).is_err());
}

const FLAG_HEAD_CHECK: u8 = 2;

#[test]
fn a_body_that_is_cut_off_is_an_error_at_every_byte() {
    let plain = text(500);
    for (name, coding) in CODINGS {
        let coded = encode(name, &[&plain]).concat();
        for len in 1..coded.len() {
            let mut flow = decode(whole(coded[..len].to_vec()), &[coding], 500);
            let (out, end) = drain(&mut flow);
            let Poll::Ready(Err(Broken::Coding(why))) = end else {
                panic!("{name} cut off at {len}: {end:?}")
            };
            assert!(why.contains("ends in the middle"), "{why}");
            assert!(plain.starts_with(&out));
            assert_eq!(drain(&mut flow), (Vec::new(), Poll::Ready(Ok(()))), "an error is said once");
        }
    }
}

#[test]
fn damage_ends_in_an_error_or_in_no_more_than_was_allowed() {
    let plain = text(500);
    for (name, coding) in CODINGS {
        let coded = encode(name, &[&plain]).concat();
        for at in 0..coded.len() {
            for bit in [1, 16, 128] {
                let mut damaged = coded.clone();
                damaged[at] ^= bit;
                match collect(decode(whole(damaged), &[coding], 500)) {
                    // Time, system and level in the head of gzip mean nothing; bare DEFLATE and Brotli have no check.
                    Ok(out) if name == "gzip" || name == "zlib" || name == "zstd" => assert_eq!(out, plain),
                    Ok(out) => assert!(out.len() <= 500),
                    Err(Broken::Coding(_) | Broken::TooLarge(500)) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        }
    }
}

#[test]
fn what_follows_the_end_is_an_error() {
    for (name, coding) in CODINGS {
        let coded = [encode(name, &[b"text"]).concat(), b"more".to_vec()].concat();
        let Err(Broken::Coding(why)) = collect(decode(whole(coded), &[coding], 100)) else {
            panic!("{name}")
        };
        assert!(
            why.contains("follows the end") || name == "zstd" && why.contains("damaged"),
            "{name}: {why}"
        );
    }
}

#[test]
fn garbage_is_an_error() {
    for (name, coding) in CODINGS {
        let flow = decode(whole(&b"\xff\xfe plain text, not coded at all"[..]), &[coding], 100);
        assert!(matches!(collect(flow), Err(Broken::Coding(_))), "{name}");
    }
}

#[test]
fn an_empty_body_is_empty_in_every_coding() {
    for (name, coding) in CODINGS {
        let flow = decode(whole(Bytes::new()), &[coding, Coding::Gzip], 100);
        assert!(flow.is_end_stream(), "{name}");
        assert_eq!(flow.size_hint().exact(), Some(0));
        assert_eq!(collect(flow), Ok(Vec::new()), "{name}");
        assert_eq!(collect(decode(chunks([&b""[..], b""]), &[coding], 100)), Ok(Vec::new()), "{name}");
    }
}

#[test]
fn a_bomb_ends_in_an_error_before_it_has_grown() {
    let zeros = vec![0; 8 << 20];
    for (name, coding) in CODINGS {
        let bomb = encode(name, &[&zeros]).concat();
        assert!(bomb.len() < zeros.len() / 900, "{name}: {}", bomb.len());
        let mut flow = decode(whole(bomb.clone()), &[coding], u64::MAX);
        let (out, end) = drain(&mut flow);
        let Poll::Ready(Err(Broken::Coding(why))) = end else { panic!("{name}: {end:?}") };
        assert!(why.contains("more than 100 times"), "{why}");
        assert!(out.len() as u64 <= GROWTH_FREE.max(GROWTH_MAX * bomb.len() as u64), "{name}: {}", out.len());

        // The limit counts even where it grows slowly, and byte by byte.
        let mut flow = decode(chunks(bomb.chunks(1)), &[coding], 40_000);
        let (out, end) = drain(&mut flow);
        assert_eq!(end, Poll::Ready(Err(Broken::TooLarge(40_000))), "{name}");
        assert!(out.len() <= 40_000);
    }
}

#[test]
fn a_bomb_inside_a_bomb_is_measured_by_what_was_received() {
    let zeros = vec![0; 8 << 20];
    for (first, inner) in CODINGS {
        let bomb = encode(first, &[&zeros]).concat();
        for (second, outer) in CODINGS {
            let nested = encode(second, &[&bomb]).concat();
            let mut flow = decode(whole(nested.clone()), &[inner, outer], u64::MAX);
            let (out, end) = drain(&mut flow);
            assert!(matches!(end, Poll::Ready(Err(Broken::Coding(_)))), "{first}, {second}: {end:?}");
            assert!(out.len() as u64 <= GROWTH_FREE.max(GROWTH_MAX * nested.len() as u64));
        }
    }
}

#[test]
fn what_compresses_well_and_small_may_grow_as_it_likes() {
    let zeros = vec![0; 60_000];
    for (name, coding) in CODINGS {
        let coded = encode(name, &[&zeros]).concat();
        assert!(coded.len() < 600, "{name}");
        assert_eq!(collect(decode(whole(coded), &[coding], 60_000)).as_deref(), Ok(&zeros[..]), "{name}");
    }
}

#[test]
fn a_window_of_zstd_is_at_most_8_mib() {
    // Magic number, a head without checksum, the window (8 MiB, then 9 MiB), one raw block "text", the last one.
    for (window, fits) in [(13 << 3, true), (13 << 3 | 1, false)] {
        let frame = [&[0x28, 0xb5, 0x2f, 0xfd, 0, window, 4 << 3 | 1, 0, 0][..], b"text"].concat();
        let got = collect(decode(whole(frame), &[Coding::Zstd], 100));
        assert_eq!(got.is_ok(), fits, "{got:?}");
    }
}

#[test]
fn trailers_come_after_the_decoded_end() {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-check", HeaderValue::from_static("1"));
    let coded = encode("gzip", &[b"text"]).concat();
    let steps = [Frame::data(coded.clone().into()), Frame::trailers(trailers.clone())].map(Some);
    let mut flow = decode(Script::flow(steps), &[Coding::Gzip], 100);
    let mut context = Context::from_waker(Waker::noop());
    let mut next = || match Pin::new(&mut flow).poll_frame(&mut context) {
        Poll::Ready(frame) => frame.map(Result::unwrap),
        Poll::Pending => panic!("it pauses"),
    };
    assert_eq!(next().unwrap().into_data().unwrap(), "text");
    assert_eq!(next().unwrap().into_trailers().unwrap(), trailers);
    assert!(next().is_none());
}

#[test]
fn a_broken_upstream_is_said_as_it_was() {
    let failed = http_body_util::StreamBody::new(futures_util::stream::iter([Err(Broken::TooSlow)]));
    assert_eq!(collect(decode(failed.boxed_unsync(), &[Coding::Zstd], 100)), Err(Broken::TooSlow));
}

#[test]
fn codings_are_read_from_headers() {
    for (values, expected) in [
        (&[][..], &[][..]),
        (&["identity"], &[]),
        (&["gzip"], &[Coding::Gzip]),
        (&["X-GZip"], &[Coding::Gzip]),
        (&[" deflate ,\tbr"], &[Coding::Deflate, Coding::Brotli]),
        (&["zstd", "identity, , gzip"], &[Coding::Zstd, Coding::Gzip]),
    ] {
        assert_eq!(codings(&headers(values)).as_deref(), Ok(expected), "{values:?}");
    }
    for values in
        [&["compress"][..], &["gzip, gzip, gzip"], &["gzip;q=1"], &["aws-chunked"], &["gzip", "\u{e9}"]]
    {
        let Err(Broken::Coding(why)) = codings(&headers(values)) else { panic!("{values:?}") };
        assert!(!why.is_empty());
    }
}

proptest! {
    /// Foreign bytes in a coded body: no panic, no end without end, and how it was cut makes no difference.
    #[test]
    fn damage_is_seen_however_it_is_cut(
        which in 0..CODINGS.len(),
        at in any::<prop::sample::Index>(),
        foreign in prop::collection::vec(any::<u8>(), 0..40),
        kept in any::<prop::sample::Index>(),
        size in 1..50_usize,
    ) {
        let (name, coding) = CODINGS[which];
        let mut coded = encode(name, &[&text(300)]).concat();
        let at = at.index(coded.len() + 1);
        coded.splice(at..at, foreign);
        coded.truncate(kept.index(coded.len()) + 1);
        let at_once = collect(decode(whole(coded.clone()), &[coding], 1_000));
        prop_assert!(at_once.as_ref().map_or(0, Vec::len) <= 1_000);
        prop_assert_eq!(collect(decode(chunks(coded.chunks(size)), &[coding], 1_000)), at_once);
    }
}
