//! A chunked body (RFC 9112 §7.1): where it ends, its trailers included.

use super::BadChunks;

/// How far a chunked body was followed. Extensions and trailers are passed over: the HTTP library bounds them.
#[derive(Debug, Default)]
pub(super) struct Chunked {
    state: State,
    /// The size of the current chunk as far as it was read, then what is left of its data (bytes).
    size: u64,
}

#[derive(Debug, Default, Clone, Copy)]
enum State {
    /// Before the first digit of a size.
    #[default]
    Start,
    Size,
    /// Blanks behind the size.
    Blank,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the start of a trailer, or of the empty line that ends the body.
    Line,
    Trailer,
    TrailerLf,
    EndLf,
}

impl Chunked {
    /// Reads on, and says where in these bytes the body ends, if it does.
    pub(super) fn follow(&mut self, bytes: &[u8]) -> Result<Option<usize>, BadChunks> {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            if matches!(self.state, State::Data) {
                let here = (bytes.len() - at).min(usize::try_from(self.size).unwrap_or(usize::MAX));
                self.size -= here as u64;
                at += here;
                if self.size == 0 {
                    self.state = State::DataCr;
                }
                continue;
            }
            at += 1;
            if matches!((self.state, byte), (State::EndLf, b'\n')) {
                return Ok(Some(at));
            }
            self.state = self.after(*byte)?;
        }
        Ok(None)
    }

    fn after(&mut self, byte: u8) -> Result<State, BadChunks> {
        Ok(match (self.state, byte) {
            (State::Start | State::Size, digit) if digit.is_ascii_hexdigit() => {
                let digit = char::from(digit).to_digit(16).ok_or(BadChunks)?;
                self.size = self.size.checked_mul(16).ok_or(BadChunks)? | u64::from(digit);
                State::Size
            }
            (State::Size | State::Blank, b' ' | b'\t') => State::Blank,
            (State::Size | State::Blank, b';') => State::Extension,
            (State::Size | State::Blank | State::Extension, b'\r') => State::SizeLf,
            (State::SizeLf, b'\n') if self.size == 0 => State::Line,
            (State::SizeLf, b'\n') => State::Data,
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Start,
            (State::Line, b'\r') => State::EndLf,
            (State::Trailer, b'\r') => State::TrailerLf,
            (State::TrailerLf, b'\n') => State::Line,
            // A bare LF ends a line for some.
            (State::Extension | State::Line | State::Trailer, b'\n') => return Err(BadChunks),
            (State::Extension, _) => State::Extension,
            (State::Line | State::Trailer, _) => State::Trailer,
            _ => return Err(BadChunks),
        })
    }
}
