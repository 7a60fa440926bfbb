//! Keys, from the bytes that a terminal sends for them, and what each does. Pure functions.

use super::model::{Mode, Model, Wish};

/// A key that somebody pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// A character that was typed.
    Char(char),
    /// Cursor up.
    Up,
    /// Cursor down.
    Down,
    /// A page back.
    PageUp,
    /// A page on.
    PageDown,
    /// Return.
    Enter,
    /// Deletes what was typed last.
    Backspace,
    /// Takes a step back.
    Escape,
    /// Ctrl-C or Ctrl-D.
    Interrupt,
}

/// The longest reason that can be typed (characters).
const REASON_MAX: usize = admin::REASON_CHARACTERS_MAX;

/// The keys in what a terminal sent at once. Sequences of keys that do nothing here are left out.
pub fn keys(bytes: &[u8]) -> Vec<Key> {
    let text = String::from_utf8_lossy(bytes);
    let mut rest = text.chars().peekable();
    let mut keys = Vec::new();
    while let Some(character) = rest.next() {
        keys.push(match character {
            '\u{1b}' if rest.next_if(|next| matches!(next, '[' | 'O')).is_some() => {
                let mut sequence = String::new();
                for next in rest.by_ref() {
                    sequence.push(next);
                    if next.is_ascii_alphabetic() || next == '~' {
                        break;
                    }
                }
                match sequence.as_str() {
                    "A" => Key::Up,
                    "B" => Key::Down,
                    "5~" => Key::PageUp,
                    "6~" => Key::PageDown,
                    _ => continue,
                }
            }
            '\u{1b}' => Key::Escape,
            '\r' | '\n' => Key::Enter,
            '\u{7f}' | '\u{8}' => Key::Backspace,
            '\u{3}' | '\u{4}' => Key::Interrupt,
            other if other.is_control() => continue,
            other => Key::Char(other),
        });
    }
    keys
}

/// What a key does: it changes the model, and may wish for something that only the outside can do.
pub fn press(model: &mut Model, key: Key) -> Option<Wish> {
    if key == Key::Interrupt {
        return Some(Wish::Quit);
    }
    match std::mem::replace(&mut model.mode, Mode::Look) {
        Mode::Look | Mode::Said(_) => look(model, key),
        Mode::Reason(mut typed) => {
            match key {
                Key::Escape => return None,
                Key::Enter if !typed.trim().is_empty() => {
                    model.mode = Mode::Sure { reason: Some(typed) };
                    return None;
                }
                Key::Backspace => drop(typed.pop()),
                Key::Char(character) if typed.chars().count() < REASON_MAX => typed.push(character),
                _ => {}
            }
            model.mode = Mode::Reason(typed);
            None
        }
        Mode::Sure { reason } => match key {
            Key::Char('y' | 'Y') => Some(match reason {
                None => Wish::Approve,
                Some(reason) => Wish::Deny(reason),
            }),
            // A page that scrolls would be another one than the question is about.
            Key::Char('n' | 'N') | Key::Escape | Key::Enter => {
                model.mode = Mode::Said("nothing was decided".to_owned());
                None
            }
            _ => {
                model.mode = Mode::Sure { reason };
                None
            }
        },
    }
}

fn look(model: &mut Model, key: Key) -> Option<Wish> {
    match key {
        Key::Char('q') => return Some(Wish::Quit),
        Key::Up | Key::Char('k') => return model.choose(-1),
        Key::Down | Key::Char('j') => return model.choose(1),
        Key::Char(' ') | Key::PageDown => model.scroll(1),
        Key::Char('b') | Key::PageUp => model.scroll(-1),
        Key::Char('a') => model.begin(Mode::Sure { reason: None }),
        Key::Char('d') => model.begin(Mode::Reason(String::new())),
        _ => {}
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_from_their_bytes() {
        assert_eq!(
            keys(b"a \x1b[A\x1bOB\x1b[5~\x1b[6~\x1b[1;5C\r\x7f\x03\x1b"),
            [
                Key::Char('a'),
                Key::Char(' '),
                Key::Up,
                Key::Down,
                Key::PageUp,
                Key::PageDown,
                Key::Enter,
                Key::Backspace,
                Key::Interrupt,
                Key::Escape
            ]
        );
        assert_eq!(keys("é\x00".as_bytes()), [Key::Char('é')]);
    }
}
