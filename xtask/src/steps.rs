//! Running one named step after another: a line when it starts, its time when it ends, and on failure
//! the command that repeats it alone. It must never go on after a failed step.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The steps of one run, in order.
pub struct Steps {
    started: Instant,
    done: Vec<(String, Duration)>,
    left_out: Vec<String>,
}

impl Steps {
    /// Starts the clock that every step is measured against.
    pub fn begin() -> Self {
        Self { started: now(), done: Vec::new(), left_out: Vec::new() }
    }

    /// Runs `command` as the step `name`. The error names the command that repeats the step.
    pub fn command(&mut self, name: &str, command: &mut Command) -> Result<()> {
        let shown = show(command);
        self.work(name, &shown, || {
            let status = command.status().with_context(|| format!("`{shown}` cannot be started"))?;
            if !status.success() {
                bail!("`{shown}` ended with {status}");
            }
            Ok(())
        })
    }

    /// Runs `work` as the step `name`; `alone` is the command that repeats it.
    pub fn work(&mut self, name: &str, alone: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
        let began = now();
        say(&format!("==> {name}  ({alone})"));
        let outcome = work();
        let took = began.elapsed();
        let elapsed = self.started.elapsed();
        match outcome {
            Ok(()) => {
                say(&format!("<== {name}  {}, {} in all", seconds(took), seconds(elapsed)));
                self.done.push((name.to_owned(), took));
                Ok(())
            }
            Err(error) => {
                Err(error.context(format!("step `{name}` failed after {}; alone: {alone}", seconds(took))))
            }
        }
    }

    /// Says now, and at the end once more, what this machine could not do.
    pub fn leave_out(&mut self, what: String) {
        say(&format!("NOT RUN: {what}"));
        self.left_out.push(what);
    }

    /// Adds steps that were done beside these.
    pub fn take_in(&mut self, others: Self) {
        self.done.extend(others.done);
        self.left_out.extend(others.left_out);
    }

    /// One line for each finished step, with its time.
    pub fn summary(&self) {
        say("");
        for (name, took) in &self.done {
            say(&format!("{:>9}  {name}", seconds(*took)));
        }
        say(&format!("{:>9}  in all", seconds(self.started.elapsed())));
        for what in &self.left_out {
            say(&format!("NOT RUN: {what}"));
        }
    }
}

/// One line for the person who watches.
#[expect(clippy::print_stderr, reason = "a task's progress goes to the terminal")]
pub fn say(line: &str) {
    eprintln!("{line}");
}

#[expect(clippy::disallowed_methods, reason = "a task tells how long its steps took")]
fn now() -> Instant {
    Instant::now()
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// The command as it can be pasted into a shell at the root of the workspace.
fn show(command: &Command) -> String {
    let variables = command.get_envs().filter_map(|(name, value)| {
        value.map(|value| format!("{}={}", name.display(), quote(&value.display().to_string())))
    });
    let words = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| quote(&word.display().to_string()));
    variables.chain(words).collect::<Vec<_>>().join(" ")
}

fn quote(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./=:,@+".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_command_can_be_pasted() {
        let mut command = Command::new("cargo");
        command.args(["test", "--", "it's"]).env("HERE", "a b");
        assert_eq!(show(&command), r"HERE='a b' cargo test -- 'it'\''s'");
    }

    #[test]
    fn a_failed_step_names_itself_and_how_to_repeat_it() {
        let error = Steps::begin().command("lint", Command::new("false").arg("x")).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("step `lint` failed after") && text.contains("alone: false x"), "{text}");
    }

    #[test]
    fn a_command_that_does_not_exist_is_an_error() {
        let error =
            Steps::begin().command("gone", &mut Command::new("toolgate-no-such-program")).unwrap_err();
        assert!(format!("{error:#}").contains("cannot be started"));
    }
}
