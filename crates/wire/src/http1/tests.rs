//! Requests in one piece and byte by byte: the same ends, the same refusals.

use proptest::prelude::*;

use super::*;

/// Feeds pieces as a connection brings them. Returns the bytes that may go on, and how it ended.
fn follow(pieces: &[&[u8]]) -> (Vec<u8>, Result<(), String>) {
    let mut framing = Framing::default();
    let (mut on, mut held) = (Vec::new(), Vec::new());
    for piece in pieces {
        held.extend_from_slice(piece);
        let (good, end) = match framing.follow(&held) {
            Followed::All => (held.len(), None),
            Followed::Until(good) => (good, None),
            Followed::BadHead(good, fault) => (good, Some(fault.to_string())),
            Followed::BadBody(good) => (good, Some(BadChunks.to_string())),
        };
        on.extend(held.drain(..good));
        if let Some(fault) = end {
            return (on, Err(fault));
        }
    }
    (on, Ok(()))
}

fn ended(bytes: &[u8]) -> Result<(), String> {
    let whole = follow(&[bytes]);
    let pieces: Vec<&[u8]> = bytes.chunks(1).collect();
    let by_byte = follow(&pieces);
    assert_eq!(whole.1, by_byte.1, "{}", String::from_utf8_lossy(bytes));
    whole.1
}

const NEXT: &str = "GET /next HTTP/1.1\r\nHost: h\r\n\r\n";

#[test]
fn good_requests_pass_whole() {
    for request in [
        "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length:5\r\n\r\nab\ncd",
        "POST / HTTP/1.1\r\ncontent-LENGTH: \t 5 \t\r\n\r\n\r\n\r\n\n",
        "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding:chunked\r\n\r\n5;a=\"b\"\r\nab\ncd\r\n00A \t\r\n0123456789\r\n0;x\r\nT: 1\r\nU: 2\r\n\r\n",
    ] {
        let all = format!("{request}{NEXT}{request}");
        assert_eq!(follow(&[all.as_bytes()]), (all.clone().into_bytes(), Ok(())));
        assert_eq!(ended(all.as_bytes()), Ok(()));
        let bad = format!("{request}GET / HTTP/1.1\nHost: h\r\n\r\n");
        assert_eq!(follow(&[bad.as_bytes()]).0, request.as_bytes(), "what is before a bad head is good");
    }
}

#[test]
fn heads_that_others_read_differently_are_refused() {
    for (head, why) in [
        ("GET / HTTP/1.1\nHost: h\r\n\r\n", HeadFault::BareLf),
        ("GET / HTTP/1.1\r\nHost: h\n\r\n", HeadFault::BareLf),
        ("GET / HTTP/1.1\r\nHost: h\r\n\n", HeadFault::BareLf),
        ("\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", HeadFault::BareLf),
        ("GET / HTTP/1.1\r\nX: a\n b\r\n\r\n", HeadFault::BareLf),
        ("GET / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", HeadFault::TwoFramings),
        ("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", HeadFault::TwoFramings),
        ("GET / HTTP/1.1\r\nTransfer-Encoding: x\r\nContent-Length: 3\r\n\r\n", HeadFault::TwoFramings),
        ("GET / HTTP/1.1\r\nContent-Length: 3\r\nContent-length: 3\r\n\r\n", HeadFault::SeveralLengths),
        ("GET / HTTP/1.1\r\nContent-Length: 3\r\nContent-length: 4\r\n\r\n", HeadFault::SeveralLengths),
        ("GET / HTTP/1.1\r\nContent-Length: 3, 3\r\n\r\n", HeadFault::BadLength),
        ("GET / HTTP/1.1\r\nContent-Length: +3\r\n\r\n", HeadFault::BadLength),
        ("GET / HTTP/1.1\r\nContent-Length: 0x3\r\n\r\n", HeadFault::BadLength),
        ("GET / HTTP/1.1\r\nContent-Length:\r\n\r\n", HeadFault::BadLength),
        ("GET / HTTP/1.1\r\nContent-Length: 18446744073709551616\r\n\r\n", HeadFault::BadLength),
        ("GET / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", HeadFault::BadCoding),
        ("GET / HTTP/1.1\r\nTransfer-Encoding: chunked, identity\r\n\r\n", HeadFault::BadCoding),
        ("GET / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n", HeadFault::BadCoding),
        ("GET / HTTP/1.1\r\nTransfer-Encoding: \u{b}chunked\r\n\r\n", HeadFault::BadCoding),
        (
            "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            HeadFault::BadCoding,
        ),
        ("GET / HTTP/1.1\r\nTransfer-Encoding : chunked\r\n\r\n", HeadFault::BadLine),
        ("GET / HTTP/1.1\r\n Content-Length: 3\r\n\r\n", HeadFault::BadLine),
        ("GET / HTTP/1.1\r\nX: a\r\n folded: b\r\n\r\n", HeadFault::BadLine),
        ("GET / HTTP/1.1\r\nno colon\r\n\r\n", HeadFault::BadLine),
        ("GET / HTTP/1.1\r\n: x\r\n\r\n", HeadFault::BadLine),
        ("GET / HTTP/1.1\r\nContent-Length\u{0}: 3\r\n\r\n", HeadFault::BadLine),
        ("GET /\r\n\r\n", HeadFault::BadVersion),
        ("GET / HTTP/1.2\r\n\r\n", HeadFault::BadVersion),
        ("GET / http/1.1\r\n\r\n", HeadFault::BadVersion),
        ("GET / HTTP/1.1 \r\n\r\n", HeadFault::BadVersion),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HeadFault::BadVersion),
    ] {
        assert_eq!(ended(head.as_bytes()), Err(why.to_string()), "{head}");
        let behind = format!("{NEXT}{head}");
        assert_eq!(follow(&[behind.as_bytes()]), (NEXT.as_bytes().to_vec(), Err(why.to_string())));
    }
}

#[test]
fn chunks_that_cannot_be_told_apart_are_refused() {
    const HEAD: &str = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in [
        "0x4\r\nabcd\r\n0\r\n\r\n",
        "\r\n",
        "-1\r\n",
        " 4\r\nabcd\r\n",
        "4\nabcd\r\n0\r\n\r\n",
        "4\r\nabcd\n0\r\n\r\n",
        "4\r\nabcde\r\n0\r\n\r\n",
        "4;a\nb\r\nabcd\r\n0\r\n\r\n",
        "4 4\r\nabcd\r\n",
        "10000000000000000\r\n",
        "0\r\n\n",
        "0\r\nT: 1\n\r\n",
        "0\r\nT: 1\r\r\n",
        "0\n\n",
    ] {
        assert_eq!(ended(format!("{HEAD}{body}").as_bytes()), Err(BadChunks.to_string()), "{body:?}");
    }
}

#[test]
fn an_unfinished_head_is_held_back() {
    let mut framing = Framing::default();
    let half = "GET / HTTP/1.1\r\nHost: h\r\n\r";
    let behind = format!("{NEXT}{half}");
    assert_eq!(framing.follow(behind.as_bytes()), Followed::Until(NEXT.len()));
    assert_eq!(framing.follow(half.as_bytes()), Followed::Until(0));
    assert_eq!(framing.follow(format!("{half}\n").as_bytes()), Followed::All);
}

proptest! {
    #[test]
    fn how_bytes_are_cut_does_not_matter(
        bytes in prop::collection::vec(
            prop::sample::select(&[
                "GET / HTTP/1.1\r\n", "Host: h\r\n", "\r\n", "\r", "\n", "Content-Length: 4\r\n", "abcd", "4\r\n", "0\r\n",
                "Transfer-Encoding: chunked\r\n", "X: y\r\n", " ", ";", ":",
            ][..]),
            0..24,
        ),
        cuts in prop::collection::vec(1_usize..9, 1..40),
    ) {
        let bytes = bytes.concat().into_bytes();
        let mut pieces = Vec::new();
        let mut rest = &bytes[..];
        for cut in cuts.iter().cycle() {
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            if piece.is_empty() {
                break;
            }
            pieces.push(piece);
            rest = after;
        }
        let (whole, cut) = (follow(&[&bytes]), follow(&pieces));
        prop_assert_eq!(&whole.1, &cut.1);
        // A body is handed on as it comes, so its last piece may go on before it breaks.
        prop_assert!(bytes.starts_with(&whole.0) && bytes.starts_with(&cut.0));
        if whole.1 != Err(BadChunks.to_string()) {
            prop_assert_eq!(whole.0, cut.0);
        }
    }
}
