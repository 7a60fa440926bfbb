//! One child process: started without a shell and with a withheld environment, read line by line, and ended
//! with its whole process group.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    process::Stdio,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use domain::{
    clock::Clock,
    names::ServiceName,
    service::{EnvValue, StdioUpstream},
};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{ChildStderr, ChildStdin, ChildStdout, Command},
    sync::{mpsc, watch},
};

use wire::mask::{self, Masker};

use super::router::{Attribution, Router};
use crate::credentials::Injection;

/// What a child inherits of our environment.
const INHERITED: [&str; 3] = ["PATH", "HOME", "LANG"];
/// How many messages may wait for the child to read them.
const STDIN_QUEUE_MAX: usize = 64;
/// How long a child may take to end after its input was closed, and again after SIGTERM.
const POLITE: Duration = Duration::from_secs(2);
/// How long its last words are waited for.
const LAST_WORDS_WAIT: Duration = Duration::from_secs(1);
/// How much of the last line on stderr is kept for the trail (bytes).
const LAST_WORDS_MAX: usize = 400;

/// Why a child is no longer read whose output has ended.
const CLOSED: &str = "the process closed its output";

/// A running (or just ended) child.
pub(super) struct Child {
    number: u64,
    router: Arc<Router>,
    born_at: Duration,
    active_at_ms: AtomicU64,
    /// Says "stop" to the keeper.
    stop: watch::Sender<bool>,
    life: watch::Receiver<Life>,
    died_at_ms: Arc<AtomicU64>,
    stopped: AtomicBool,
    stderr: Arc<Mutex<String>>,
}

/// Whether the process exists.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Life {
    Alive,
    /// With the words about its end.
    Dead(String),
}

/// What is started.
pub(super) struct Program<'a> {
    pub(super) service: &'a ServiceName,
    pub(super) definition: &'a StdioUpstream,
    /// The variables that hold credentials, and what masks them.
    pub(super) injection: &'a Injection,
}

impl Child {
    /// Starts the process in a group of its own.
    ///
    /// # Errors
    /// A sentence for operators when it cannot be started.
    pub(super) fn spawn(
        program: &Program<'_>,
        number: u64,
        attribution: Attribution,
        clock: &Arc<dyn Clock>,
        line_bytes_max: usize,
    ) -> Result<Arc<Self>, String> {
        let Program { service, definition, injection } = *program;
        let (program, arguments) = definition.command.split_first().ok_or("its command is empty")?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear();
        for name in INHERITED {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        for (name, value) in &definition.env {
            if let EnvValue::Plain(value) = value {
                command.env(name, value);
            }
        }
        for (name, secret) in &injection.environment {
            command.env(name, OsStr::from_bytes(secret.reveal()));
        }
        command.process_group(0).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                format!("`{program}` was not found (service `{service}`, command)")
            }
            _ => format!("`{program}` cannot be started: {error} (service `{service}`, command)"),
        })?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (process.stdin.take(), process.stdout.take(), process.stderr.take())
        else {
            return Err("its standard streams are missing".into());
        };

        let (lines, inbox) = mpsc::channel(STDIN_QUEUE_MAX);
        let router = Arc::new(Router::new(lines, attribution));
        let last_line = Arc::new(Mutex::new(String::new()));
        let (stop, stopping) = watch::channel(false);
        let (tell_life, life) = watch::channel(Life::Alive);
        let died_at_ms = Arc::new(AtomicU64::new(0));

        tokio::spawn(write_lines(stdin, inbox, stopping.clone()));
        let errors = tokio::spawn(read_errors(
            stderr,
            Arc::clone(&last_line),
            service.clone(),
            injection.masker.clone(),
        ));
        let reader = tokio::spawn(read_lines(stdout, Arc::clone(&router), line_bytes_max));
        let keeper = Keeper { process, stopping, reader, errors, service: service.clone() };
        tokio::spawn({
            let died_at_ms = Arc::clone(&died_at_ms);
            let (clock, router) = (Arc::clone(clock), Arc::clone(&router));
            async move {
                let end = keeper.keep().await;
                died_at_ms.store(millis(clock.now().monotonic), Ordering::Relaxed);
                // Nobody may be left to be told.
                let _ = tell_life.send(Life::Dead(end));
                // Last: who waits for an answer then finds out how it ended.
                router.close();
            }
        });
        let now = clock.now().monotonic;
        Ok(Arc::new(Self {
            number,
            router,
            born_at: now,
            active_at_ms: AtomicU64::new(millis(now)),
            stop,
            life,
            died_at_ms,
            stopped: AtomicBool::new(false),
            stderr: last_line,
        }))
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn router(&self) -> &Arc<Router> {
        &self.router
    }

    pub(super) fn born_at(&self) -> Duration {
        self.born_at
    }

    pub(super) fn note_activity(&self, now: Duration) {
        self.active_at_ms.store(millis(now), Ordering::Relaxed);
    }

    pub(super) fn is_idle_since(&self, now: Duration, idle: Duration) -> bool {
        let active_at = Duration::from_millis(self.active_at_ms.load(Ordering::Relaxed));
        !self.router.is_in_use() && now.saturating_sub(active_at) >= idle
    }

    pub(super) fn is_dead(&self) -> bool {
        self.stopped.load(Ordering::Relaxed) || *self.life.borrow() != Life::Alive
    }

    /// Whether it ended without being told to.
    pub(super) fn died_by_itself(&self) -> bool {
        !self.stopped.load(Ordering::Relaxed)
    }

    pub(super) fn age_at_death(&self) -> Duration {
        Duration::from_millis(self.died_at_ms.load(Ordering::Relaxed)).saturating_sub(self.born_at)
    }

    /// Tells it to end: its input is closed, then SIGTERM, then SIGKILL, each to the whole group.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.stop.send_replace(true);
    }

    /// Resolves when the process is gone.
    pub(super) async fn gone(&self) {
        let mut life = self.life.clone();
        // An error means that the keeper is gone, and the process with it.
        let _ = life.wait_for(|life| *life != Life::Alive).await;
    }

    /// How it ended, for operators, with the last thing it said on stderr.
    pub(super) fn last_words(&self) -> String {
        let how = match &*self.life.borrow() {
            Life::Alive => CLOSED.to_owned(),
            Life::Dead(how) => how.clone(),
        };
        let said = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_empty() { how } else { format!("{how}; it said: {said}") }
    }
}

/// Owns the process and sees it to its end.
struct Keeper {
    process: tokio::process::Child,
    stopping: watch::Receiver<bool>,
    reader: tokio::task::JoinHandle<&'static str>,
    errors: tokio::task::JoinHandle<()>,
    service: ServiceName,
}

impl Keeper {
    async fn keep(mut self) -> String {
        let group = self.process.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        let how = tokio::select! {
            status = self.process.wait() => describe(status),
            // A child that is no longer understood is of no more use.
            why = &mut self.reader => {
                let why = why.unwrap_or("its output cannot be read");
                // Most often its output has ended because it has; then its end says more.
                match end_group(&mut self.process, group).await {
                    Some(status) if why == CLOSED => describe(status),
                    _ => why.to_owned(),
                }
            }
            () = told(&mut self.stopping) => {
                end_group(&mut self.process, group).await;
                "the process was stopped".to_owned()
            }
        };
        // What the child has started itself goes with it.
        signal(group, Signal::SIGKILL);
        tracing::info!(service = %self.service, "{how}");
        if !self.reader.is_finished() {
            // Let the last lines through: the pipe ends with the last process of the group.
            let _ = tokio::time::timeout(POLITE, &mut self.reader).await;
            self.reader.abort();
        }
        // What it said last may still be on its way.
        let _ = tokio::time::timeout(LAST_WORDS_WAIT, &mut self.errors).await;
        how
    }
}

/// Waits for the end, and helps with signals; how it ended, if that needed none.
async fn end_group(
    process: &mut tokio::process::Child,
    group: Option<Pid>,
) -> Option<std::io::Result<std::process::ExitStatus>> {
    for step in [None, Some(Signal::SIGTERM), Some(Signal::SIGKILL)] {
        if let Some(step) = step {
            signal(group, step);
        }
        if let Ok(status) = tokio::time::timeout(POLITE, process.wait()).await {
            return step.is_none().then_some(status);
        }
    }
    None
}

fn signal(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        // The group may be gone already.
        let _ = killpg(group, signal);
    }
}

/// Resolves when the child is to end.
async fn told(stopping: &mut watch::Receiver<bool>) {
    // An error means that nobody holds the child any more, which is the same.
    let _ = stopping.wait_for(|stop| *stop).await;
}

fn describe(status: std::io::Result<std::process::ExitStatus>) -> String {
    match status {
        Ok(status) => format!("the process ended ({status})"),
        Err(error) => format!("the process was lost: {error}"),
    }
}

/// Writes each message as one line. Ends, and so closes the child's input, when the child is told to stop.
async fn write_lines(
    mut stdin: ChildStdin,
    mut inbox: mpsc::Receiver<Bytes>,
    mut stopping: watch::Receiver<bool>,
) {
    loop {
        let line = tokio::select! {
            line = inbox.recv() => line,
            () = told(&mut stopping) => None,
        };
        let Some(line) = line else { return };
        let written = async {
            stdin.write_all(&line).await?;
            stdin.flush().await
        };
        if written.await.is_err() {
            return;
        }
    }
}

/// Reads lines until the output ends or one is too long; says why it stopped.
async fn read_lines(mut stdout: ChildStdout, router: Arc<Router>, line_bytes_max: usize) -> &'static str {
    let mut buffer = BytesMut::with_capacity(16 * 1024);
    let mut searched = 0;
    loop {
        while let Some(end) =
            buffer.get(searched..).and_then(|new| new.iter().position(|byte| *byte == b'\n'))
        {
            let line = buffer.split_to(searched + end + 1).freeze();
            searched = 0;
            router.deliver(line);
        }
        searched = buffer.len();
        if buffer.len() > line_bytes_max {
            return "it sent a line over the limit of 4 MiB";
        }
        match stdout.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return CLOSED,
            Ok(_) => {}
        }
    }
}

/// Drains stderr at any speed; keeps the last line that says something.
async fn read_errors(
    mut stderr: ChildStderr,
    last_line: Arc<Mutex<String>>,
    service: ServiceName,
    masker: Option<Masker>,
) {
    let mut chunk = vec![0u8; 8 * 1024];
    // A child may print its environment; a secret may come in two pieces.
    let mut clean = masker.map(mask::Stream::new);
    while let Ok(length) = stderr.read(&mut chunk).await {
        let Some(read) = chunk.get(..length).filter(|read| !read.is_empty()) else { return };
        let read = match &mut clean {
            Some(clean) => clean.push(Bytes::copy_from_slice(read)).concat(),
            None => read.to_vec(),
        };
        let text = String::from_utf8_lossy(&read);
        let Some(line) = text.lines().rev().find(|line| !line.trim().is_empty()) else { continue };
        let kept: String = line.trim().chars().filter(|c| !c.is_control()).take(LAST_WORDS_MAX).collect();
        tracing::debug!(service = %service, "stderr: {kept}");
        *last_line.lock().unwrap_or_else(PoisonError::into_inner) = kept;
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
