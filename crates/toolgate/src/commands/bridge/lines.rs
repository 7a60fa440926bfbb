//! The client's side of the bridge: one message a line on stdin and stdout (MCP, stdio transport).
//! Two plain threads, because reading stdin cannot be interrupted and must not hold up the end.

use std::{
    io::{BufRead, BufReader, Read, Write},
    thread::JoinHandle,
};

use bytes::Bytes;
use tokio::sync::mpsc;

/// The longest message in either direction (bytes).
pub const MESSAGE_BYTES_MAX: usize = 10_000_000;
/// Messages that wait for a slow client or a slow gateway.
const WAITING_MAX: usize = 64;

/// What came on stdin.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// A line that is not blank, without its line feed.
    Message(Bytes),
    /// A line longer than the limit; it was skipped.
    TooLong,
}

/// Starts reading stdin. The receiver ends with stdin.
pub fn read_stdin() -> mpsc::Receiver<Line> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut input = BufReader::with_capacity(64 * 1024, std::io::stdin());
        // A fault of stdin is its end: there is nobody left to serve.
        while let Ok(Some(line)) = read_line(&mut input, MESSAGE_BYTES_MAX) {
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

fn read_line(input: &mut impl BufRead, longest: usize) -> std::io::Result<Option<Line>> {
    loop {
        let mut line = Vec::new();
        let most = u64::try_from(longest).unwrap_or(u64::MAX).saturating_add(1);
        if input.by_ref().take(most).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        if line.last() != Some(&b'\n') && line.len() > longest {
            skip_line(input)?;
            return Ok(Some(Line::TooLong));
        }
        while line.last().is_some_and(u8::is_ascii_whitespace) {
            line.pop();
        }
        if !line.is_empty() {
            return Ok(Some(Line::Message(line.into())));
        }
    }
}

fn skip_line(input: &mut impl BufRead) -> std::io::Result<()> {
    loop {
        let buffer = input.fill_buf()?;
        let (used, ended) = match buffer.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        input.consume(used);
        if ended {
            return Ok(());
        }
    }
}

/// Where messages for the client go.
#[derive(Debug, Clone)]
pub struct Answers(mpsc::Sender<Bytes>);

impl Answers {
    /// Queues one JSON text. Where it has line feeds, which can only be blanks between its parts, it gets
    /// spaces: a line is a message.
    pub async fn send(&self, json: Bytes) {
        // When stdout is closed the bridge is about to end.
        let _ = self.0.send(one_line(json)).await;
    }

    /// Waits until stdout cannot be written any more.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}

fn one_line(json: Bytes) -> Bytes {
    let json = json.slice_ref(json.trim_ascii());
    if memchr::memchr2(b'\n', b'\r', &json).is_none() {
        return json;
    }
    json.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }).collect()
}

/// The thread that writes stdout.
#[derive(Debug)]
pub struct Writer(JoinHandle<()>);

impl Writer {
    /// Waits until everything is written. All [`Answers`] must be gone.
    pub fn finish(self) {
        // The thread cannot panic: it only writes, and stops when that fails.
        let _ = self.0.join();
    }
}

/// Starts writing to stdout.
pub fn write_stdout() -> (Answers, Writer) {
    let (sender, mut receiver) = mpsc::channel::<Bytes>(WAITING_MAX);
    let thread = std::thread::spawn(move || {
        let mut stdout = std::io::stdout();
        while let Some(json) = receiver.blocking_recv() {
            let mut line = Vec::with_capacity(json.len() + 1);
            line.extend_from_slice(&json);
            line.push(b'\n');
            if stdout.write_all(&line).and_then(|()| stdout.flush()).is_err() {
                break;
            }
        }
    });
    (Answers(sender), Writer(thread))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &str, longest: usize) -> Vec<Line> {
        let mut input = BufReader::with_capacity(4, input.as_bytes());
        std::iter::from_fn(|| read_line(&mut input, longest).unwrap()).collect()
    }

    fn message(text: &'static str) -> Line {
        Line::Message(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn a_message_is_a_line_and_blank_lines_are_none() {
        assert_eq!(lines("{1}\r\n\n  \n{2}\n{3}", 10), [message("{1}"), message("{2}"), message("{3}")]);
    }

    #[test]
    fn a_line_over_the_limit_is_skipped_and_the_next_one_is_read() {
        assert_eq!(lines("1234567890\n12345\n1", 5), [Line::TooLong, message("12345"), message("1")]);
        assert_eq!(lines("123456", 5), [Line::TooLong]);
    }

    #[test]
    fn an_answer_over_several_lines_becomes_one() {
        let json = Bytes::from_static(b"\n{\n  \"a\": \"x\\ny\"\r\n}\n");
        assert_eq!(one_line(json), &b"{   \"a\": \"x\\ny\"  }"[..]);
        let plain = Bytes::from_static(b"{}");
        assert_eq!(one_line(plain.clone()).as_ptr(), plain.as_ptr(), "nothing to change, nothing copied");
    }
}
