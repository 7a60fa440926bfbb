//! A home of its own and a place to run commands in: the real binary, an empty environment, no terminal unless asked.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    time::Duration,
};

use nix::{
    pty::openpty,
    sys::termios::{LocalFlags, tcgetattr},
};
use tempfile::TempDir;

use crate::harness::until;

/// A temporary folder with a home, a working directory and a user's home in it.
pub struct Terminal {
    folder: TempDir,
    variables: Vec<(String, String)>,
}

/// What a command left behind.
#[derive(Debug)]
pub struct Done {
    pub stdout: String,
    pub stderr: String,
    pub code: i32,
}

impl Terminal {
    /// A user who has never run Toolgate.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("work")).unwrap();
        Self { folder, variables: Vec::new() }
    }

    /// A user who has run `init`.
    pub fn with_home() -> Self {
        let terminal = Self::new();
        terminal.run(&["init"]).ok();
        terminal
    }

    /// Sets a variable of the environment for the commands that follow.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// The home that commands use without `--home`.
    pub fn home(&self) -> PathBuf {
        self.folder.path().join(".local/share/toolgate")
    }

    /// The working directory.
    pub fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// Writes a file in the working directory.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.work().join(name), text).unwrap();
    }

    /// A command that is ready to be run, or to be kept running.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_toolgate"));
        let path = Path::new(env!("CARGO_BIN_EXE_toolgate")).parent().unwrap();
        command
            .args(arguments)
            .current_dir(self.work())
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", path.display()))
            .env("HOME", self.folder.path())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a command with an empty stdin.
    pub fn run(&self, arguments: &[&str]) -> Done {
        self.run_with(arguments, "")
    }

    /// Runs a command with a text on stdin.
    pub fn run_with(&self, arguments: &[&str], stdin: &str) -> Done {
        let mut child = self.command(arguments).spawn().unwrap();
        // A command that reads nothing may be gone already.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        self.done(child.wait_with_output().unwrap())
    }

    /// The same at a real terminal: see [`sit_at`].
    pub fn sit_at(&self, arguments: &[&str]) -> Sitting {
        sit_at(self.command(arguments))
    }

    /// Output with the folder's name replaced, so that it can be compared.
    pub fn done(&self, output: Output) -> Done {
        let text = |bytes: Vec<u8>| {
            String::from_utf8(bytes).unwrap().replace(&self.folder.path().display().to_string(), "/FOLDER")
        };
        Done {
            stdout: text(output.stdout),
            stderr: text(output.stderr),
            code: output.status.code().unwrap_or(-1),
        }
    }
}

/// Starts a command in a real terminal: its stdin and its stderr are one; stdout is read when it ends.
pub fn sit_at(mut command: Command) -> Sitting {
    let terminal = openpty(None, None).unwrap();
    command.stdout(Stdio::piped());
    command.stdin(terminal.slave.try_clone().unwrap()).stderr(terminal.slave);
    let child = command.spawn().unwrap();
    let keyboard = File::from(terminal.master);
    let mut screen = keyboard.try_clone().unwrap();
    let (send, shown) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        // The last program at a terminal ends it with an error, not with an end of file.
        while let Ok(length @ 1..) = screen.read(&mut bytes) {
            if send.send(bytes[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    Sitting { child, keyboard, shown, screen: String::new(), read: 0 }
}

/// Somebody at a terminal.
pub struct Sitting {
    child: Child,
    keyboard: File,
    shown: mpsc::Receiver<Vec<u8>>,
    screen: String,
    /// So much of the screen was answered already.
    read: usize,
}

impl Sitting {
    /// Waits for a prompt, then types a line.
    pub fn answer(&mut self, prompt: &str, line: &str) {
        self.wait_for(prompt);
        self.keyboard.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Waits for a prompt and until the terminal shows no more what is typed, then types a line.
    pub fn answer_unseen(&mut self, prompt: &str, line: &str) {
        self.wait_for(prompt);
        until("the terminal to hide what is typed", || {
            !tcgetattr(&self.keyboard).unwrap().local_flags.contains(LocalFlags::ECHO)
        });
        self.keyboard.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Waits for the end; `stderr` is what the screen showed.
    pub fn done(mut self) -> Done {
        while let Ok(bytes) = self.shown.recv_timeout(Duration::from_secs(60)) {
            self.screen.push_str(&String::from_utf8_lossy(&bytes));
        }
        let output = self.child.wait_with_output().unwrap();
        Done {
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: self.screen,
            code: output.status.code().unwrap_or(-1),
        }
    }

    fn wait_for(&mut self, prompt: &str) {
        loop {
            if let Some(at) = self.screen[self.read..].find(prompt) {
                self.read += at + prompt.len();
                return;
            }
            match self.shown.recv_timeout(Duration::from_secs(60)) {
                Ok(bytes) => self.screen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("no `{prompt}` in {:?}", self.screen),
            }
        }
    }
}

impl Done {
    /// It must have ended well.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// It must have failed with this on stderr and nothing on stdout.
    #[track_caller]
    pub fn fails(&self, code: i32, stderr: &str) {
        assert_eq!((self.stderr.trim_end(), self.stdout.as_str(), self.code), (stderr, "", code));
    }

    /// stdout as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }
}
