//! What the operating system says went wrong, as part of a sentence for people.

use std::io;

/// The system's words for `error`: lower case at the start, without its number. Words of our own stay as they are.
#[must_use]
pub fn system_words(error: &io::Error) -> String {
    let said = error.to_string();
    let said = said.split(" (os error ").next().unwrap_or_default();
    let mut characters = said.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => "no reason was given".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_an_error_is_for_programs() {
        for (error, words) in [
            (io::Error::from_raw_os_error(2), "no such file or directory"),
            (io::Error::from_raw_os_error(28), "no space left on device"),
            (io::Error::other("the pipe is full"), "the pipe is full"),
            (io::Error::other(""), "no reason was given"),
        ] {
            assert_eq!(system_words(&error), words);
        }
    }
}
