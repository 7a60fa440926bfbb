//! Commands that run as printed: the right program, the right home, quoted for a POSIX shell.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use crate::home::Home;

/// How the user reaches this program and this home.
#[derive(Debug, Clone)]
pub struct Invocation {
    program: String,
    home: Option<PathBuf>,
    user_home: Option<PathBuf>,
}

impl Invocation {
    /// `program` is `argv[0]`; `search_path` is `$PATH`, `user_home` is `$HOME`.
    #[must_use]
    pub fn new(
        program: &OsStr,
        search_path: Option<&OsStr>,
        user_home: Option<PathBuf>,
        home: &Home,
    ) -> Self {
        Self {
            program: typed(program, search_path),
            home: (!home.is_default()).then(|| home.path().to_owned()),
            user_home,
        }
    }

    /// A command line to paste: `toolgate` and `arguments`, with `--home` where it is needed.
    #[must_use]
    pub fn command(&self, arguments: &str) -> String {
        match &self.home {
            Some(home) => {
                let home = home.to_string_lossy();
                format!("{} {arguments} --home {}", self.program, shell_quote(&home))
            }
            None => format!("{} {arguments}", self.program),
        }
    }

    /// A command that needs no home.
    #[must_use]
    pub fn homeless(&self, arguments: &str) -> String {
        format!("{} {arguments}", self.program)
    }

    /// A sentence whose commands can be pasted: the `toolgate …` at its end, and those in backticks. Paths that stand
    /// in brackets are written as people write them.
    #[must_use]
    pub fn adapt(&self, sentence: &str) -> String {
        let user_home = self.user_home.as_deref().filter(|home| home.parent().is_some());
        let sentence = match user_home.and_then(Path::to_str) {
            Some(home) => &sentence.replace(&format!("({home}/"), "(~/"),
            None => sentence,
        };
        let mut text = String::with_capacity(sentence.len());
        for (at, part) in sentence.split('`').enumerate() {
            if at > 0 {
                text.push('`');
            }
            match part.strip_prefix("toolgate ") {
                Some(arguments) if at % 2 == 1 && !arguments.contains("--home") => {
                    text.push_str(&self.command(arguments))
                }
                _ => text.push_str(part),
            }
        }
        let last = [": toolgate ", "; toolgate "].iter().filter_map(|start| text.rfind(start)).max();
        match last.and_then(|at| text.split_at_checked(at + 2)) {
            Some((before, command)) if !command.contains("--home") => {
                let arguments = command.strip_prefix("toolgate ").unwrap_or(command);
                format!("{before}{}", self.command(arguments))
            }
            _ => text,
        }
    }

    /// A path as people write it: `~/…` below their home.
    #[must_use]
    pub fn path(&self, path: &Path) -> String {
        tilde(path, self.user_home.as_deref())
    }
}

/// How this program is typed. `argv0` is what it was called by, `search_path` is `$PATH`.
fn typed(argv0: &OsStr, search_path: Option<&OsStr>) -> String {
    let on_path = search_path
        .is_some_and(|path| std::env::split_paths(path).any(|folder| folder.join("toolgate").is_file()));
    if on_path { "toolgate".to_owned() } else { shell_quote(&argv0.to_string_lossy()) }
}

/// How this program is typed, where nothing else is known yet.
#[must_use]
pub fn program(argv0: Option<&OsStr>) -> String {
    typed(argv0.unwrap_or(OsStr::new("toolgate")), std::env::var_os("PATH").as_deref())
}

/// `path`, with `~` for `user_home` where it lies below it.
#[must_use]
pub fn tilde(path: &Path, user_home: Option<&Path>) -> String {
    let below =
        user_home.filter(|home| home.parent().is_some()).and_then(|home| path.strip_prefix(home).ok());
    match below {
        Some(rest) if rest.as_os_str().is_empty() => "~".to_owned(),
        Some(rest) => format!("~/{}", rest.display()),
        None => path.display().to_string(),
    }
}

/// `text` as one word of a POSIX shell; quoted only where it must be. Control characters are quoted too.
#[must_use]
pub fn shell_quote(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@,+=%".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_quoted_only_where_the_shell_would_read_it_otherwise() {
        for (text, quoted) in [
            ("files/a.yaml", "files/a.yaml"),
            ("", "''"),
            ("two words", "'two words'"),
            ("it's", "'it'\\''s'"),
            ("$HOME", "'$HOME'"),
            ("~/x", "'~/x'"),
        ] {
            assert_eq!(shell_quote(text), quoted);
        }
    }

    #[test]
    fn paths_below_the_users_home_are_short() {
        let user = Path::new("/home/ada");
        assert_eq!(tilde(Path::new("/home/ada/x/y"), Some(user)), "~/x/y");
        assert_eq!(tilde(Path::new("/home/adam/x"), Some(user)), "/home/adam/x");
        assert_eq!(tilde(Path::new("/home/ada"), Some(user)), "~");
        assert_eq!(tilde(Path::new("/srv"), Some(Path::new("/"))), "/srv");
        assert_eq!(tilde(Path::new("/srv"), None), "/srv");
    }

    #[test]
    fn a_command_names_the_program_and_the_home_it_needs() {
        let home = Home::at("/tmp/my home".into());
        let invocation = Invocation::new(OsStr::new("target/release/toolgate"), None, None, &home);
        assert_eq!(
            invocation.command("audit list"),
            "target/release/toolgate audit list --home '/tmp/my home'"
        );
        assert_eq!(invocation.homeless("demo"), "target/release/toolgate demo");
    }

    #[test]
    fn commands_in_a_sentence_are_made_to_run_as_printed() {
        let home = Home::at("/h".into());
        let invocation = Invocation::new(OsStr::new("./toolgate"), None, Some("/home/ada".into()), &home);
        for (sentence, adapted) in [
            (
                "no service `x` (--scope); all: toolgate services list",
                "no service `x` (--scope); all: ./toolgate services list --home /h",
            ),
            (
                "no policy; `toolgate init` writes a starter",
                "no policy; `./toolgate init --home /h` writes a starter",
            ),
            (
                "no policy; `./toolgate init --home /h` writes a starter",
                "no policy; `./toolgate init --home /h` writes a starter",
            ),
            (
                "no policy; `toolgate init --home /h` writes a starter",
                "no policy; `toolgate init --home /h` writes a starter",
            ),
            (
                "a file is not text (/home/ada/x.yaml); chmod 600 /home/ada/x.yaml",
                "a file is not text (~/x.yaml); chmod 600 /home/ada/x.yaml",
            ),
            (
                "this home needs toolgate 0.3 or newer; use that",
                "this home needs toolgate 0.3 or newer; use that",
            ),
        ] {
            assert_eq!(invocation.adapt(sentence), adapted);
        }
    }
}
