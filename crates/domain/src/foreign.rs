//! Foreign text for human eyes: whatever an agent or upstream wrote, shown so that it cannot pass for something else.
//! It is escaped, never interpreted, and never shortened here.

use std::{borrow::Cow, fmt::Write as _};

/// `text` with every character written out (`\u{202e}`) that would be invisible, move the cursor, change the
/// direction of reading, or look like an ASCII character that it is not.
#[must_use]
pub fn escape_foreign(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for word in text.split_inclusive(|character: char| !character.is_alphanumeric()) {
        // A Cyrillic word is just a word; Cyrillic letters inside a Latin one are a disguise.
        let latin = word.bytes().any(|byte| byte.is_ascii_alphabetic());
        for character in word.chars() {
            if deceives(character) || (latin && resembles_latin(character)) {
                // Writing to a `String` cannot fail.
                let _ = write!(shown, "{}", character.escape_unicode());
            } else {
                shown.push(character);
            }
        }
    }
    Cow::Owned(shown)
}

/// Bytes that should be a text, as [`escape_foreign`]; those that are none are written out as `\x{ff}`.
#[must_use]
pub fn escape_foreign_bytes(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        shown.push_str(&escape_foreign(chunk.valid()));
        for byte in chunk.invalid() {
            // Writing to a `String` cannot fail.
            let _ = write!(shown, "\\x{{{byte:02x}}}");
        }
    }
    shown
}

/// How many characters of a text somebody who decides on it should be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Oddities {
    /// Those that would be invisible, or change how the others read. Line feeds and tabs are none of them.
    pub invisible: usize,
    /// Those that look like a letter of ASCII and are none.
    pub lookalikes: usize,
}

impl Oddities {
    /// Adds those of `text`.
    pub fn count(&mut self, text: &str) {
        if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return;
        }
        for word in text.split_inclusive(|character: char| !character.is_alphanumeric()) {
            let latin = word.bytes().any(|byte| byte.is_ascii_alphabetic());
            for character in word.chars().filter(|character| !matches!(character, '\n' | '\r' | '\t')) {
                if copies_ascii(character) || (latin && resembles_latin(character)) {
                    self.lookalikes += 1;
                } else if deceives(character) {
                    self.invisible += 1;
                }
            }
        }
    }
}

/// Control, format, direction and zero-width characters, blanks that are no space, variation selectors, tags,
/// private use, copies of ASCII.
pub(crate) fn deceives(character: char) -> bool {
    character.is_control()
        || copies_ascii(character)
        || matches!(character,
            '\u{a0}' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{1680}'
            | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{2000}'..='\u{200f}'
            | '\u{2028}'..='\u{202f}' | '\u{205f}'..='\u{206f}' | '\u{2800}' | '\u{3000}' | '\u{3164}'
            | '\u{e000}'..='\u{f8ff}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{10ffff}')
}

/// Full-width and mathematical copies of ASCII.
fn copies_ascii(character: char) -> bool {
    matches!(character, '\u{ff01}'..='\u{ff5e}' | '\u{1d400}'..='\u{1d7ff}')
}

/// Greek and Cyrillic letters that most fonts draw like a Latin one.
fn resembles_latin(character: char) -> bool {
    "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧαινορυχАВЕЅІЈКМНОРСТУХаеѕіјорсухԁԛԝһӏ".contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_written_out() {
        for (text, shown) in [
            ("plain text, 1 + 1", "plain text, 1 + 1"),
            ("ch_1042\u{202e}", "ch_1042\\u{202e}"),
            ("a\u{1b}[31mb", "a\\u{1b}[31mb"),
            ("zero\u{200b}width", "zero\\u{200b}width"),
            ("two\nlines\r\t", "two\\u{a}lines\\u{d}\\u{9}"),
            ("tag\u{e0041}", "tag\\u{e0041}"),
            ("full\u{ff21}", "full\\u{ff21}"),
            ("bell\u{7}\u{9b}", "bell\\u{7}\\u{9b}"),
        ] {
            assert_eq!(escape_foreign(text), shown);
        }
    }

    #[test]
    fn a_latin_word_with_foreign_letters_is_unmasked_and_other_languages_stay_readable() {
        assert_eq!(escape_foreign("p\u{430}ypal"), "p\\u{430}ypal");
        assert_eq!(escape_foreign("привет, Ελλάδα, 漢字, größer"), "привет, Ελλάδα, 漢字, größer");
    }

    #[test]
    fn what_is_no_text_is_written_out_byte_by_byte() {
        assert_eq!(escape_foreign_bytes(b"a\xff\xfe\x1bz"), "a\\x{ff}\\x{fe}\\u{1b}z");
    }

    #[test]
    fn what_is_odd_is_counted_and_line_feeds_are_not() {
        let mut odd = Oddities::default();
        for text in ["ch_1042\u{202e}", "p\u{430}yp\u{430}l", "two\nlines\t", "\u{ff21}\u{200b}", "привет"]
        {
            odd.count(text);
        }
        assert_eq!(odd, Oddities { invisible: 2, lookalikes: 3 });
    }
}
