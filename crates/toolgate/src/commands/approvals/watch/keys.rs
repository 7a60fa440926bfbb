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
    use domain::operator::OperatorRole;

    use super::*;
    use crate::commands::approvals::fixture;

    fn model(role: OperatorRole) -> Model {
        let mut model = Model::new(fixture::email("ada"), role);
        model.waiting = vec![fixture::refund(), fixture::write("ap_3c8vn1t5zb")];
        model.chosen = Some(model.waiting[0].held.id);
        model.show(fixture::page(fixture::refund()));
        model
    }

    fn type_in(model: &mut Model, text: &str) -> Option<Wish> {
        text.chars().filter_map(|character| press(model, Key::Char(character))).last()
    }

    #[test]
    fn nobody_decides_before_the_end_of_the_page_was_shown() {
        let mut model = model(OperatorRole::Owner);
        for key in ['a', 'd'] {
            assert_eq!(type_in(&mut model, &format!("{key}y")), None);
            assert_eq!(press(&mut model, Key::Enter), None);
        }
        model.drawn(8, 20);
        assert_eq!(type_in(&mut model, "ay"), None);
        press(&mut model, Key::Char(' '));
        press(&mut model, Key::Char(' '));
        model.drawn(8, 20);
        assert_eq!(type_in(&mut model, "ay"), Some(Wish::Approve), "14 to 20 of 20 were shown");
    }

    #[test]
    fn a_yes_is_asked_for_and_anything_else_is_none() {
        let mut model = model(OperatorRole::Approver);
        model.drawn(20, 20);
        for no in ["an", "aN"] {
            assert_eq!(type_in(&mut model, no), None);
            assert!(matches!(model.mode, Mode::Said(_)));
        }
        assert_eq!(type_in(&mut model, "aq y"), Some(Wish::Approve), "q and space answer no question");
    }

    #[test]
    fn a_denial_needs_a_reason() {
        let mut model = model(OperatorRole::Approver);
        model.drawn(20, 20);
        type_in(&mut model, "d  ");
        assert_eq!(press(&mut model, Key::Enter), None);
        assert!(matches!(model.mode, Mode::Reason(_)), "blanks are no reason");
        type_in(&mut model, "nox");
        press(&mut model, Key::Backspace);
        press(&mut model, Key::Enter);
        assert_eq!(type_in(&mut model, "y"), Some(Wish::Deny("  no".to_owned())));
        type_in(&mut model, "d");
        press(&mut model, Key::Escape);
        assert_eq!(model.mode, Mode::Look);
        type_in(&mut model, &format!("d{}", "x".repeat(600)));
        assert!(matches!(&model.mode, Mode::Reason(typed) if typed.len() == REASON_MAX));
    }

    #[test]
    fn a_viewer_decides_nothing_and_another_call_is_another_page() {
        let mut viewer = model(OperatorRole::Viewer);
        viewer.drawn(20, 20);
        assert_eq!(type_in(&mut viewer, "ay"), None);
        let mut model = model(OperatorRole::Owner);
        model.drawn(20, 20);
        assert_eq!(press(&mut model, Key::Down), Some(Wish::Load));
        assert_eq!(type_in(&mut model, "ay"), None, "its page was not shown");
        model.show(fixture::page(model.waiting[1].clone()));
        assert_eq!(type_in(&mut model, "ay"), None);
        assert_eq!(press(&mut model, Key::Down), None, "it is the last one");
        assert_eq!(press(&mut model, Key::Interrupt), Some(Wish::Quit));
    }

    #[test]
    fn a_call_that_somebody_else_decides_is_taken_from_the_screen() {
        use domain::approval::Status;
        let mut model = model(OperatorRole::Owner);
        model.drawn(20, 20);
        type_in(&mut model, "a");
        let mut denied = model.waiting[0].clone();
        denied.status = Status::Denied;
        let waiting = vec![model.waiting[1].clone()];
        let found = super::super::follow::Found { waiting, changed: vec![denied] };
        assert_eq!(model.take(found, fixture::now()), Some(Wish::Load));
        assert_eq!(model.chosen, Some(model.waiting[0].held.id));
        assert_eq!(type_in(&mut model, "y"), None);
        assert_eq!(model.ended.len(), 1);
        assert!(
            !model.age(fixture::now() + fixture::seconds(59))
                && model.age(fixture::now() + fixture::seconds(60))
        );
    }

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
