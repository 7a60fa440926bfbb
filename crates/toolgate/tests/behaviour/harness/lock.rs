//! Another program that holds the store's write lock: nothing commits until it lets go.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread::JoinHandle,
};

use super::Home;

/// The lock, let go of when it is dropped.
pub enum Lock {
    /// Of a file, by a program of its own.
    File(Child),
    /// Of a database, by a connection that waits for the end.
    Server(Option<mpsc::Sender<()>>, Option<JoinHandle<()>>),
}

impl Lock {
    /// Waits for its turn, and takes it.
    pub fn take(home: &Home) -> Self {
        let Some(database) = home.database() else { return Self::of_file(home) };
        let (held, holds) = mpsc::channel();
        let (end, ends) = mpsc::channel();
        let holding = database.hold("SELECT pg_advisory_lock(8390047142196114533)", held, ends);
        holds.recv().unwrap();
        Self::Server(Some(end), Some(holding))
    }

    fn of_file(home: &Home) -> Self {
        let script = "import sqlite3, sys\n\
                      store = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=20)\n\
                      store.execute('BEGIN EXCLUSIVE')\n\
                      print('held', flush=True)\n\
                      sys.stdin.read()\n\
                      store.execute('ROLLBACK')\n";
        let mut command = Command::new("python3");
        command.args(["-I", "-S", "-c", script]).arg(home.path().join("toolgate.db"));
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "held\n");
        Self::File(process)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        match self {
            Self::File(process) => {
                if let Some(mut input) = process.stdin.take() {
                    let _ = input.flush();
                }
                let _ = process.wait();
            }
            Self::Server(end, holding) => {
                drop(end.take());
                let _ = holding.take().map(JoinHandle::join);
            }
        }
    }
}
