//! The framing of an HTTP/1 connection: how the bytes are cut does not matter, and no good byte is held for ever.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::http1::{Followed, Framing};

fuzz_target!(|input: (&[u8], u8)| {
    let (bytes, cut) = input;
    let (whole, whole_end) = follow(std::iter::once(bytes));
    let (pieces, pieces_end) = follow(bytes.chunks(usize::from(cut) + 1));
    assert_eq!(whole_end, pieces_end);
    // A body is handed on as it comes, so the last piece of one that breaks may have gone on.
    assert!(whole == pieces || (whole_end == Some(None) && whole < pieces));
    assert!(pieces <= bytes.len());
});

/// How many bytes may go on, and what was refused: a head with its reason, or a body.
fn follow<'b>(pieces: impl Iterator<Item = &'b [u8]>) -> (usize, Option<Option<String>>) {
    let mut framing = Framing::default();
    let (mut on, mut held) = (0, Vec::new());
    for piece in pieces {
        held.extend_from_slice(piece);
        let (good, end) = match framing.follow(&held) {
            Followed::All => (held.len(), None),
            Followed::Until(good) => (good, None),
            Followed::BadHead(good, fault) => (good, Some(Some(fault.to_string()))),
            Followed::BadBody(good) => (good, Some(None)),
        };
        assert!(good <= held.len());
        held.drain(..good);
        on += good;
        if end.is_some() {
            return (on, end);
        }
    }
    (on, None)
}
