//! Server-sent events (WHATWG HTML, section 9.2): cut out of a stream, changed in one place, written.
//! Frames that nobody changes keep their bytes, and no frame waits for more than its own end.

use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr2;

/// A frame of our own that carries `data`, one `data:` line for each of its lines.
pub fn encode(data: &str) -> Bytes {
    let mut out = BytesMut::with_capacity(data.len() + 8);
    write_data(data, b"\n", &mut out);
    out.extend_from_slice(b"\n");
    out.freeze()
}

/// Cuts a stream into frames. Feed it chunks cut anywhere, then take frames until there are none.
///
/// A line ends with LF, CR or CRLF; a frame ends with an empty line. Where that line ends with a CR and the
/// chunk with it, the frame is complete, and an LF that still follows opens the bytes of the next one.
#[derive(Debug)]
pub struct Decoder {
    event_bytes_max: usize,
    /// What was fed and not scanned yet.
    fed: Bytes,
    /// The beginning of the frame at hand, from earlier chunks.
    begun: BytesMut,
    /// Bytes in front of the frame at hand that belong to no line: the LF of the CRLF that ended the last one.
    lead: usize,
    /// Whether the line at hand has no characters so far.
    line_is_empty: bool,
    /// Whether the last byte was a CR: an LF would belong to it.
    after_return: bool,
    /// Whether no frame was taken yet: only then may a byte order mark stand in front.
    first: bool,
}

/// A frame grew over the limit before it ended. The stream is to be given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event is longer than {limit} bytes")]
pub struct TooLong {
    /// The limit in force, in bytes.
    pub limit: usize,
}

impl Decoder {
    /// A decoder at the start of a stream. A frame of more than `event_bytes_max` bytes is an error.
    pub fn new(event_bytes_max: usize) -> Self {
        Self {
            event_bytes_max,
            fed: Bytes::new(),
            begun: BytesMut::new(),
            lead: 0,
            line_is_empty: true,
            after_return: false,
            first: true,
        }
    }

    /// Adds the next bytes of the stream.
    pub fn feed(&mut self, chunk: Bytes) {
        if self.fed.is_empty() {
            self.fed = chunk;
        } else {
            self.fed = [self.fed.as_ref(), chunk.as_ref()].concat().into();
        }
    }

    /// The next complete frame; `None` when more bytes are needed.
    ///
    /// # Errors
    /// A frame longer than the limit, complete or not.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, TooLong> {
        let end = self.scan();
        let length = self.begun.len() + end.unwrap_or(self.fed.len());
        if length > self.event_bytes_max {
            return Err(TooLong { limit: self.event_bytes_max });
        }
        let Some(end) = end else {
            self.begun.extend_from_slice(&self.fed);
            self.fed.clear();
            return Ok(None);
        };
        let tail = self.fed.split_to(end);
        let raw = if self.begun.is_empty() {
            tail
        } else {
            self.begun.extend_from_slice(&tail);
            self.begun.split().freeze()
        };
        let mut start = std::mem::take(&mut self.lead);
        if std::mem::take(&mut self.first) && raw.starts_with(b"\xef\xbb\xbf") {
            start = 3;
        }
        Ok(Some(Frame::parse(raw, start)))
    }

    /// Scans what was fed, each byte once; where the frame at hand ends in it.
    fn scan(&mut self) -> Option<usize> {
        let bytes = self.fed.as_ref();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if byte == b'\n' && std::mem::take(&mut self.after_return) {
                self.lead += usize::from(at == 0 && self.begun.is_empty());
                at += 1;
                continue;
            }
            self.after_return = byte == b'\r';
            if byte != b'\n' && byte != b'\r' {
                self.line_is_empty = false;
                let rest = bytes.get(at..).unwrap_or_default();
                at += memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
                continue;
            }
            at += 1;
            if std::mem::replace(&mut self.line_is_empty, true) {
                if byte == b'\r' && bytes.get(at) == Some(&b'\n') {
                    self.after_return = false;
                    at += 1;
                }
                return Some(at);
            }
        }
        None
    }
}

/// One frame: a set of fields up to an empty line. It may hold comments only, or nothing at all.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Every byte of the frame, its empty line included: what is forwarded when nothing is changed.
    pub raw: Bytes,
    /// The `event` field: the type of the event, `message` when there is none.
    pub event: Option<Bytes>,
    /// The `data` lines joined by LF. No `data` field is not the same as an empty one.
    pub data: Option<Bytes>,
    /// The `id` field, unless it holds a NUL.
    pub id: Option<Bytes>,
    /// The `retry` field when it is all digits, in milliseconds.
    pub retry: Option<Bytes>,
    /// Whether there is no field at all, only comments or nothing.
    pub is_comment_only: bool,
    /// Where the first line begins: behind a byte order mark or a left-over LF.
    start: usize,
}

impl Frame {
    fn parse(raw: Bytes, start: usize) -> Self {
        let mut frame = Self {
            raw: raw.clone(),
            event: None,
            data: None,
            id: None,
            retry: None,
            is_comment_only: true,
            start,
        };
        for line in Lines::of(&raw, start) {
            let Some((name, value)) = field(&raw, line.content) else { continue };
            frame.is_comment_only = false;
            let value = raw.slice(value);
            match name {
                b"event" => frame.event = Some(value),
                b"data" => {
                    frame.data = Some(match frame.data.take() {
                        None => value,
                        Some(before) => join(before, &value),
                    });
                }
                b"id" if !value.contains(&0) => frame.id = Some(value),
                b"retry" if value.iter().all(u8::is_ascii_digit) => frame.retry = Some(value),
                _ => {}
            }
        }
        frame
    }

    /// The frame with other data: every other line stays byte for byte, in its place.
    pub fn with_data(&self, new: &str) -> Bytes {
        let mut out = BytesMut::with_capacity(self.raw.len() + new.len());
        out.extend_from_slice(self.raw.get(..self.start).unwrap_or_default());
        let mut written = false;
        for line in Lines::of(&self.raw, self.start) {
            let ending = self.raw.get(line.content.end..line.end).unwrap_or_default();
            let is_data = field(&self.raw, line.content.clone()).is_some_and(|(name, _)| name == b"data");
            // A frame without data gets it in front of its empty line.
            if (is_data || line.content.is_empty()) && !std::mem::replace(&mut written, true) {
                write_data(new, ending, &mut out);
            }
            if !is_data {
                let kept = self.raw.get(line.content.start..line.end).unwrap_or_default();
                // A CR and an LF that come together now would be read as one line end.
                if out.ends_with(b"\r") && kept.starts_with(b"\n") {
                    out.extend_from_slice(b"\n");
                }
                out.extend_from_slice(kept);
            }
        }
        out.freeze()
    }
}

/// The name of the field on a line, and where its value stands. Nothing for a comment or an empty line.
fn field(raw: &[u8], line: Range<usize>) -> Option<(&[u8], Range<usize>)> {
    let content = raw.get(line.clone())?;
    match content.iter().position(|&byte| byte == b':') {
        Some(0) => None,
        Some(colon) => {
            let blank = usize::from(content.get(colon + 1) == Some(&b' '));
            Some((content.get(..colon)?, line.start + colon + 1 + blank..line.end))
        }
        None if content.is_empty() => None,
        None => Some((content, line.end..line.end)),
    }
}

fn join(before: Bytes, value: &[u8]) -> Bytes {
    // The lines of one value are appended in place: the buffer is ours alone from the second line on.
    let mut joined = before.try_into_mut().unwrap_or_else(|shared| BytesMut::from(shared.as_ref()));
    joined.extend_from_slice(b"\n");
    joined.extend_from_slice(value);
    joined.freeze()
}

fn write_data(data: &str, ending: &[u8], out: &mut BytesMut) {
    for line in data.split("\r\n").flat_map(|lines| lines.split(['\n', '\r'])) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line.as_bytes());
        out.extend_from_slice(ending);
    }
}

/// The lines of a frame.
struct Lines<'a> {
    raw: &'a [u8],
    at: usize,
}

/// One line: its content, and where the next line begins.
struct Line {
    content: Range<usize>,
    end: usize,
}

impl<'a> Lines<'a> {
    const fn of(raw: &'a [u8], start: usize) -> Self {
        Self { raw, at: start }
    }
}

impl Iterator for Lines<'_> {
    type Item = Line;

    fn next(&mut self) -> Option<Line> {
        let mut rest = self.raw.get(self.at..)?;
        let length = memchr2(b'\n', b'\r', rest)?;
        let content = self.at..self.at + length;
        rest.advance(length);
        self.at = content.end + if rest.starts_with(b"\r\n") { 2 } else { 1 };
        Some(Line { content, end: self.at })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames_of<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Frame> {
        let mut decoder = Decoder::new(1 << 20);
        let mut frames = Vec::new();
        for chunk in chunks {
            decoder.feed(Bytes::copy_from_slice(chunk));
            while let Some(frame) = decoder.next_frame().unwrap() {
                frames.push(frame);
            }
        }
        frames
    }

    fn only(text: &str) -> Frame {
        let mut frames = frames_of([text.as_bytes()]);
        assert!(frames.len() == 1 && frames[0].raw == text, "{text:?} is one frame");
        frames.remove(0)
    }

    fn data(text: &str) -> Option<String> {
        only(text).data.map(|data| String::from_utf8(data.to_vec()).unwrap())
    }

    #[test]
    fn the_fields_of_a_frame_are_read() {
        let frame =
            only(": hello\nevent: message\nid: 7\nretry: 3000\nretry: 3s\nunknown: x\ndata: {\"a\":1}\n\n");
        assert_eq!(frame.event.as_deref(), Some(b"message".as_slice()));
        assert_eq!(frame.id.as_deref(), Some(b"7".as_slice()));
        assert_eq!(frame.retry.as_deref(), Some(b"3000".as_slice()));
        assert_eq!(frame.data.as_deref(), Some(b"{\"a\":1}".as_slice()));
        assert!(!frame.is_comment_only);
    }

    #[test]
    fn data_is_joined_by_line_feeds_and_loses_one_blank_each() {
        assert_eq!(data("data: a\ndata:b\ndata:  c\ndata\ndata:\n\n").unwrap(), "a\nb\n c\n\n");
        assert_eq!(data("data:\n\n").unwrap(), "");
        assert_eq!(data("id: 1\n\n"), None);
        assert_eq!(data("data : a\nDATA: b\n data: c\n\n"), None);
    }

    #[test]
    fn every_line_end_ends_a_line() {
        for end in ["\n", "\r", "\r\n"] {
            assert_eq!(data(&format!("data: a{end}data: b{end}{end}")).unwrap(), "a\nb");
        }
        assert_eq!(data("data: a\r\ndata: b\rdata: c\n\r\n").unwrap(), "a\nb\nc");
    }

    #[test]
    fn a_byte_order_mark_counts_only_at_the_start_of_the_stream() {
        assert_eq!(data("\u{feff}data: a\n\n").unwrap(), "a");
        let frames = frames_of(["data: a\n\n\u{feff}data: b\n\n".as_bytes()]);
        assert!(frames[1].data.is_none());
        let frames = frames_of([&b"\xef"[..], b"\xbb", b"\xbfdata: a\n\n"]);
        assert_eq!(frames[0].data.as_deref(), Some(b"a".as_slice()));
        assert_eq!(only("\u{feff}data: a\n\n").with_data("b"), "\u{feff}data: b\n\n");
    }

    #[test]
    fn comments_and_empty_lines_are_frames_without_fields() {
        let frames = frames_of([b":\n\n\n: ping\r\n\r\n".as_slice()]);
        let raws: Vec<_> = frames.iter().map(|frame| frame.raw.as_ref()).collect();
        assert_eq!(raws, [&b":\n\n"[..], b"\n", b": ping\r\n\r\n"]);
        assert!(frames.iter().all(|frame| frame.is_comment_only && frame.data.is_none()));
    }

    #[test]
    fn an_id_with_a_nul_is_no_id() {
        assert_eq!(only("id: a\0b\ndata: x\n\n").id, None);
    }

    #[test]
    fn a_frame_comes_out_with_its_last_byte() {
        let mut decoder = Decoder::new(100);
        for byte in b"data: a\r\n\r" {
            assert!(decoder.next_frame().unwrap().is_none());
            decoder.feed(Bytes::copy_from_slice(&[*byte]));
        }
        assert_eq!(decoder.next_frame().unwrap().unwrap().raw, "data: a\r\n\r");
        decoder.feed(Bytes::from_static(b"\ndata: b\n\n"));
        let second = decoder.next_frame().unwrap().unwrap();
        assert_eq!((second.raw.as_ref(), second.data.as_deref()), (&b"\ndata: b\n\n"[..], Some(&b"b"[..])));
        assert_eq!(second.with_data("c"), "\ndata: c\n\n");
    }

    #[test]
    fn a_frame_over_the_limit_is_an_error_before_and_after_it_ends() {
        for chunks in [vec!["data: 89\n\n"], vec!["data: 8", "9\n", "\n"]] {
            for (limit, fits) in [(10, true), (9, false)] {
                let mut decoder = Decoder::new(limit);
                let mut outcome = Ok(0);
                for chunk in &chunks {
                    decoder.feed(Bytes::copy_from_slice(chunk.as_bytes()));
                    while let Ok(count) = outcome {
                        match decoder.next_frame() {
                            Ok(Some(_)) => outcome = Ok(count + 1),
                            Ok(None) => break,
                            Err(error) => outcome = Err(error),
                        }
                    }
                }
                assert_eq!(outcome, if fits { Ok(1) } else { Err(TooLong { limit }) });
            }
        }
        let mut decoder = Decoder::new(9);
        decoder.feed(Bytes::from_static(b"data: 89ab"));
        assert_eq!(decoder.next_frame().unwrap_err().to_string(), "an event is longer than 9 bytes");
    }

    #[test]
    fn new_data_leaves_every_other_line_as_it_is() {
        let frame = only(":c\r\ndata: a\r\nid:  7\r\ndata: b\r\nevent:x\r\n\r\n");
        assert_eq!(frame.with_data("{}"), ":c\r\ndata: {}\r\nid:  7\r\nevent:x\r\n\r\n");
        assert_eq!(
            frame.with_data("1\n2\r\n3"),
            ":c\r\ndata: 1\r\ndata: 2\r\ndata: 3\r\nid:  7\r\nevent:x\r\n\r\n"
        );
        assert_eq!(only("id: 1\n\n").with_data("x"), "id: 1\ndata: x\n\n");
        assert_eq!(only("data: a\nid: 1\rdata: b\n\n").with_data("x"), "data: x\nid: 1\r\n\n");
    }

    #[test]
    fn our_own_frames_are_plain() {
        assert_eq!(encode("{\"a\":1}"), "data: {\"a\":1}\n\n");
        assert_eq!(data(str::from_utf8(&encode("a\nb\n")).unwrap()).unwrap(), "a\nb\n");
        assert!(only(":\n\n").is_comment_only);
    }

    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop::sample::select(vec![
            "\n", "\r", "\r\n", "\n\n", "data: a", "data:", "data", "id: 1", "event: e", "retry: 5", ": c",
            ":", "x: y", "é", "\u{feff}", " ",
        ]);
        prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat().into_bytes())
    }

    /// What a frame says, apart from where its bytes were cut.
    fn said(frame: &Frame) -> [Option<Bytes>; 4] {
        [frame.event.clone(), frame.data.clone(), frame.id.clone(), frame.retry.clone()]
    }

    proptest! {
        #[test]
        fn frames_do_not_depend_on_how_the_stream_is_cut(stream in stream(), sizes in prop::collection::vec(1..9_usize, 100)) {
            let mut sizes = sizes.into_iter().cycle();
            let mut rest = stream.as_slice();
            let mut chunks = Vec::new();
            while !rest.is_empty() {
                let (chunk, tail) = rest.split_at(sizes.next().unwrap().min(rest.len()));
                chunks.push(chunk);
                rest = tail;
            }
            let whole = frames_of([stream.as_slice()]);
            let cut = frames_of(chunks);
            prop_assert_eq!(whole.iter().map(said).collect::<Vec<_>>(), cut.iter().map(said).collect::<Vec<_>>());
            for frames in [whole, cut] {
                let raws: Vec<u8> = frames.iter().flat_map(|frame| frame.raw.to_vec()).collect();
                // What is left is no whole frame; a line feed may be the second half of the last one's end.
                let left = stream.strip_prefix(raws.as_slice()).unwrap();
                prop_assert!(frames_of([left]).iter().all(|frame| frame.raw == "\n"), "{:?}", left);
            }
        }

        #[test]
        fn new_data_is_read_back(stream in stream(), new in "[ -~\n]{0,20}") {
            for frame in frames_of([stream.as_slice()]).into_iter().filter(|frame| frame.start == 0 && !frame.raw.starts_with(b"\xef")) {
                let changed = frame.with_data(&new);
                let again = frames_of([changed.as_ref()]);
                prop_assert!(again.len() == 1 && again[0].raw == changed);
                prop_assert_eq!(again[0].data.as_deref(), Some(new.as_bytes()));
                prop_assert_eq!((&again[0].event, &again[0].id, &again[0].retry), (&frame.event, &frame.id, &frame.retry));
            }
        }

        #[test]
        fn what_we_write_is_read_back(text in "[^\r]*") {
            let written = encode(&text);
            let frames = frames_of([written.as_ref()]);
            prop_assert!(frames.len() == 1 && frames[0].raw == written);
            prop_assert_eq!(frames[0].data.as_deref(), Some(text.as_bytes()));
        }
    }
}
