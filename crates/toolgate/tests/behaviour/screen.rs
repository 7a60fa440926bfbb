//! A terminal that understands what a full screen is drawn with: the rows as somebody would see them.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    process::{Child, Command},
    sync::mpsc,
    time::Duration,
};

use nix::{
    pty::{Winsize, openpty},
    sys::{
        signal::{Signal, kill},
        termios::{Termios, tcgetattr},
    },
    unistd::Pid,
};

use crate::harness::eventually;

/// Somebody before a full screen.
pub struct Screen {
    child: Child,
    keyboard: File,
    came: mpsc::Receiver<Vec<u8>>,
    before: Termios,
    bytes: Vec<u8>,
    /// All rows, without the blanks at their ends.
    pub rows: Vec<String>,
    /// Whether the alternate screen is shown.
    pub full: bool,
}

impl Screen {
    /// Starts a command at a terminal of this size.
    pub fn start(mut command: Command, columns: u16, rows: u16) -> Self {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let terminal = openpty(&size, None).unwrap();
        let before = tcgetattr(&terminal.slave).unwrap();
        let slave = || terminal.slave.try_clone().unwrap();
        let child = command.stdin(slave()).stdout(slave()).stderr(slave()).spawn().unwrap();
        drop(command);
        let keyboard = File::from(terminal.master);
        let mut screen = keyboard.try_clone().unwrap();
        let (send, came) = mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = screen.read(&mut bytes) {
                if send.send(bytes[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        let rows = vec![String::new(); usize::from(rows)];
        Self { child, keyboard, came, before, bytes: Vec::new(), rows, full: false }
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Sends the program a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Waits until the screen shows this.
    pub fn wait_for(&mut self, text: &str) {
        for _ in 0..1_200 {
            if self.rows.iter().any(|row| row.contains(text)) {
                return;
            }
            self.take(Duration::from_millis(50));
        }
        panic!("no `{text}` on the screen:\n{}", self.rows.join("\n"));
    }

    /// Waits for the end: the exit code, and whether the terminal is as it was.
    pub fn end(&mut self) -> (i32, bool) {
        let status = eventually("the command to end", || {
            self.take(Duration::from_millis(1));
            self.child.try_wait().unwrap()
        });
        self.take(Duration::from_millis(200));
        let after = tcgetattr(&self.keyboard).unwrap();
        let same =
            after.local_flags == self.before.local_flags && after.input_flags == self.before.input_flags;
        (status.code().unwrap_or(-1), same && !self.full)
    }

    fn take(&mut self, patience: Duration) {
        let Ok(bytes) = self.came.recv_timeout(patience) else { return };
        self.bytes.extend(bytes);
        while let Ok(more) = self.came.try_recv() {
            self.bytes.extend(more);
        }
        self.draw();
    }

    /// Draws everything that has come so far anew.
    fn draw(&mut self) {
        let text = String::from_utf8_lossy(&self.bytes).into_owned();
        let mut row = 0;
        for piece in text.split('\u{1b}').skip(1) {
            let Some(end) = piece.find(|c: char| c.is_ascii_alphabetic()) else { continue };
            let (code, rest) = piece.split_at(end + 1);
            match code {
                "[2J" => self.rows.iter_mut().for_each(String::clear),
                "[?1049h" => self.full = true,
                "[?1049l" => self.full = false,
                "[K" | "[?25l" | "[?25h" => {}
                place if place.ends_with('H') => {
                    row = place[1..].split(';').next().unwrap().parse::<usize>().unwrap() - 1;
                    self.rows[row].clear();
                }
                other => panic!("an unknown sequence {other:?}"),
            }
            if let Some(line) = self.rows.get_mut(row) {
                line.push_str(rest);
            }
        }
    }
}
