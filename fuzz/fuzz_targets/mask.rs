//! Secrets in a stream: a stream is masked as the whole is, lengths stay, and nothing of a secret is left.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use wire::mask::{Masker, Stream};

/// The first secret, another one, what stands around them, and where the stream is cut.
type Input = (Vec<u8>, Vec<u8>, Vec<Piece>, Vec<u8>);

#[derive(Debug, arbitrary::Arbitrary)]
enum Piece {
    Noise(Vec<u8>),
    First(u8),
    Second(u8),
}

fuzz_target!(|input: Input| {
    let (first, second, pieces, sizes) = input;
    let secrets = [first.as_slice(), second.as_slice()];
    let Ok(Some(masker)) = Masker::new(&secrets) else { return };

    let mut body = Vec::new();
    for piece in pieces {
        let (bytes, len) = match &piece {
            Piece::Noise(bytes) => (bytes, usize::MAX),
            Piece::First(len) => (&first, usize::from(*len)),
            Piece::Second(len) => (&second, usize::from(*len)),
        };
        body.extend_from_slice(&bytes[..len.min(bytes.len())]);
    }
    let whole = masker.mask(&body).unwrap_or_else(|| body.clone());
    assert_eq!(whole.len(), body.len());
    assert!(whole.iter().zip(&body).all(|(masked, given)| masked == given || *masked == b'*'));

    let mut stream = Stream::new(masker.clone());
    let mut rest = body.as_slice();
    let mut out = Vec::new();
    for size in sizes.into_iter().map(usize::from).chain([usize::MAX]) {
        let (chunk, tail) = rest.split_at(size.min(rest.len()));
        let parts = stream.push(Bytes::copy_from_slice(chunk));
        parts.iter().for_each(|part| out.extend_from_slice(part));
        rest = tail;
        assert_eq!(out.len() + stream.held_bytes() + rest.len(), body.len());
    }
    out.extend_from_slice(&stream.finish());
    assert_eq!(out, whole);

    // A mask is no secret, unless a secret has its sign.
    if !secrets.iter().any(|secret| secret.contains(&b'*')) {
        assert!(masker.mask(&whole).is_none());
    }
});
