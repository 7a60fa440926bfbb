//! Another program that holds the store's write lock: nothing commits until it lets go.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
};

use super::Home;

/// The lock, let go of when it is dropped.
pub struct Lock(Child);

impl Lock {
    /// Waits for its turn, and takes it.
    pub fn take(home: &Home) -> Self {
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
        Self(process)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(mut input) = self.0.stdin.take() {
            let _ = input.flush();
        }
        let _ = self.0.wait();
    }
}
