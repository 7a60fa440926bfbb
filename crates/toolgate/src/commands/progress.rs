//! Long work shows one line on stderr: redrawn on a terminal, every ten seconds elsewhere, nothing at first.

use std::{cell::Cell, io::Write as _, time::Duration};

use super::Context;
use crate::output::{age, count};

/// Work shorter than this says nothing.
const SILENT: Duration = Duration::from_secs(1);
const REDRAW: Duration = Duration::from_millis(100);
const REPEAT: Duration = Duration::from_secs(10);

/// A line that tells how far something is.
pub struct Progress<'a> {
    context: &'a Context,
    verb: &'static str,
    noun: &'static str,
    started: Duration,
    last: Cell<Option<Duration>>,
}

impl<'a> Progress<'a> {
    /// Work that starts now: `verifying … events`.
    pub fn new(context: &'a Context, verb: &'static str, noun: &'static str) -> Self {
        Self { context, verb, noun, started: context.now().monotonic, last: Cell::new(None) }
    }

    /// `done` of `all` are done.
    pub fn at(&self, done: u64, all: u64) {
        let output = &self.context.output;
        let elapsed = self.context.now().monotonic.saturating_sub(self.started);
        let pause = if output.stderr.terminal { REDRAW } else { REPEAT };
        let due = match self.last.get() {
            None => elapsed >= if output.stderr.terminal { SILENT } else { REPEAT },
            Some(last) => elapsed.saturating_sub(last) >= pause,
        };
        if !due || output.quiet() {
            return;
        }
        self.last.set(Some(elapsed));
        let percent = (done * 100).checked_div(all).unwrap_or(100);
        let line = format!(
            "{}  {} of {} {}  {percent} %  {}",
            self.verb,
            count(done),
            count(all),
            self.noun,
            age(elapsed)
        );
        if output.stderr.terminal {
            self.draw(&line);
        } else {
            output.talk(line);
        }
    }

    /// Takes the line away: the result comes next.
    pub fn clear(&self) {
        if self.last.get().is_some() && self.context.output.stderr.terminal {
            self.draw("");
        }
    }

    fn draw(&self, line: &str) {
        // Nobody can be told when stderr is gone.
        let _ = write!(std::io::stderr().lock(), "\r\u{1b}[K{line}");
    }
}
