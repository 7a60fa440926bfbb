//! Server-sent events: no byte is lost, and what a frame says does not depend on how the stream was cut.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use wire::sse::{Decoder, Frame};

fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let (stream, sizes) = input;
    let whole = frames([stream.as_slice()]);

    let mut rest = stream.as_slice();
    let mut chunks = Vec::new();
    for size in sizes {
        let (chunk, tail) = rest.split_at(usize::from(size).min(rest.len()));
        chunks.push(chunk);
        rest = tail;
    }
    chunks.push(rest);
    let cut = frames(chunks);

    assert_eq!(whole.iter().map(said).collect::<Vec<_>>(), cut.iter().map(said).collect::<Vec<_>>());
    for of_one in [&whole, &cut] {
        let raws: Vec<u8> = of_one.iter().flat_map(|frame| frame.raw.to_vec()).collect();
        let left = stream.strip_prefix(raws.as_slice()).expect("frames are the stream's own bytes, in order");
        // What is left is no whole frame; a line feed may be the second half of the last one's end.
        assert!(frames([left]).iter().all(|frame| frame.raw == "\n"));
    }
    // A changed frame says the new data and keeps the rest. A mark or a left-over LF in front of it would
    // count differently at the start of a stream.
    for frame in
        whole.iter().filter(|frame| !frame.raw.starts_with(b"\xef\xbb\xbf") && !frame.raw.starts_with(b"\n"))
    {
        let again = frames([frame.with_data("new\ndata").as_ref()]);
        let [again] = again.as_slice() else { panic!("one frame stays one") };
        assert_eq!(again.data.as_deref(), Some(b"new\ndata".as_slice()));
        assert_eq!((&again.event, &again.id, &again.retry), (&frame.event, &frame.id, &frame.retry));
    }
});

fn frames<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Frame> {
    let mut decoder = Decoder::new(1 << 20);
    let mut frames = Vec::new();
    for chunk in chunks {
        decoder.feed(Bytes::copy_from_slice(chunk));
        while let Some(frame) = decoder.next_frame().expect("the input is shorter than the limit") {
            frames.push(frame);
        }
    }
    frames
}

fn said(frame: &Frame) -> [Option<Bytes>; 4] {
    [frame.event.clone(), frame.data.clone(), frame.id.clone(), frame.retry.clone()]
}
