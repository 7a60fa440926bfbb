//! Undoing the escapes of strings that are already proven. Nothing here can fail.

use std::borrow::Cow;
use std::str::Chars;

/// The string whose text between the quotes is `lexeme`. Borrowed unless it has escapes.
pub(super) fn decode(lexeme: &str) -> Cow<'_, str> {
    if is_escaped(lexeme) { Cow::Owned(Decoded::of(lexeme).collect()) } else { Cow::Borrowed(lexeme) }
}

/// Whether the string with this `lexeme` says `plain`.
pub(super) fn same(lexeme: &str, plain: &str) -> bool {
    // Equal lengths: there is no escape, for each is longer than what it stands for; or they differ.
    if lexeme.len() == plain.len() {
        lexeme == plain && !is_escaped(lexeme)
    } else {
        lexeme.len() > plain.len() && is_escaped(lexeme) && Decoded::of(lexeme).eq(plain.chars())
    }
}

fn is_escaped(lexeme: &str) -> bool {
    lexeme.as_bytes().contains(&b'\\')
}

/// The characters of a proven string.
pub(super) struct Decoded<'a> {
    rest: Chars<'a>,
}

impl<'a> Decoded<'a> {
    pub(super) fn of(lexeme: &'a str) -> Self {
        Self { rest: lexeme.chars() }
    }

    fn hexadecimal(&mut self) -> u32 {
        self.rest.by_ref().take(4).fold(0, |unit, digit| unit << 4 | digit.to_digit(16).unwrap_or(0))
    }
}

impl Iterator for Decoded<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let character = self.rest.next()?;
        if character != '\\' {
            return Some(character);
        }
        Some(match self.rest.next()? {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let first = self.hexadecimal();
                let code = if (0xd800..0xdc00).contains(&first) {
                    self.rest.nth(1); // the `\u` of the second half
                    0x10000 + ((first - 0xd800) << 10) + self.hexadecimal().saturating_sub(0xdc00)
                } else {
                    first
                };
                // INVARIANT: a proven string has no lone surrogate, so every code is a character.
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            itself => itself,
        })
    }
}
