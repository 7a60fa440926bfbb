//! The terminal as a full screen: entered, drawn on, and always left again, whatever ends the program.

use std::{
    io::{Write as _, stdin, stdout},
    os::fd::AsFd as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, poll},
    sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr},
};
use tokio::sync::mpsc;

use super::draw::Size;

/// The alternate screen, no cursor.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[2J";
/// The cursor again, the usual screen.
const LEAVE: &[u8] = b"\x1b[?25h\x1b[?1049l";
/// How long the keyboard is waited for, before it is asked again whether anybody still wants to know (ms).
const KEYBOARD_WAIT: u16 = 50;
/// So many pieces of what was typed wait to be looked at.
const TYPED_AHEAD: usize = 64;

/// A terminal in full-screen mode; it is given back when this is dropped, after a panic too.
pub struct Screen {
    before: Termios,
    drawn: Vec<String>,
    typed: mpsc::Receiver<Vec<u8>>,
    over: Arc<AtomicBool>,
    keyboard: Option<JoinHandle<()>>,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// When stdin is no terminal.
    pub fn enter() -> anyhow::Result<Self> {
        let before = tcgetattr(stdin())?;
        // In raw mode Ctrl-C comes as a key: the terminal is given back before the program ends.
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        let (send, typed) = mpsc::channel(TYPED_AHEAD);
        let over = Arc::new(AtomicBool::new(false));
        let mut screen = Self { before, drawn: Vec::new(), typed, over: Arc::clone(&over), keyboard: None };
        tcsetattr(stdin(), SetArg::TCSADRAIN, &raw)?;
        stdout().lock().write_all(ENTER)?;
        let keyboard = std::thread::Builder::new().name("keyboard".to_owned());
        screen.keyboard = Some(keyboard.spawn(move || listen(&send, &over))?);
        Ok(screen)
    }

    /// How large it is now; 80 by 24 where it does not say.
    pub fn size(&self) -> Size {
        let (rows, columns) = dialoguer::console::Term::stdout().size_checked().unwrap_or((24, 80));
        Size { columns: usize::from(columns).max(1), rows: usize::from(rows).max(1) }
    }

    /// Draws what has changed since the last drawing; `all`: everything anew.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn draw(&mut self, lines: Vec<String>, all: bool) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        if all || self.drawn.len() != lines.len() {
            self.drawn.clear();
            bytes.extend_from_slice(b"\x1b[2J");
        }
        for (place, line) in lines.iter().enumerate() {
            if self.drawn.get(place) != Some(line) {
                write!(bytes, "\x1b[{};1H{line}\x1b[K", place + 1)?;
            }
        }
        self.drawn = lines;
        let mut out = stdout().lock();
        out.write_all(&bytes)?;
        out.flush()
    }

    /// Waits for keys; the bytes that came. `None`: the terminal is gone.
    pub async fn typed(&mut self) -> Option<Vec<u8>> {
        self.typed.recv().await
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Nobody can be told when the terminal is gone.
        let mut out = stdout().lock();
        let _ = out.write_all(LEAVE);
        let _ = out.flush();
        let _ = tcsetattr(stdin(), SetArg::TCSADRAIN, &self.before);
        self.over.store(true, Ordering::Relaxed);
        self.typed.close();
        if let Some(keyboard) = self.keyboard.take() {
            let _ = keyboard.join();
        }
    }
}

/// Hands on what is typed, until nobody wants to know any more or the terminal is gone.
fn listen(send: &mpsc::Sender<Vec<u8>>, over: &AtomicBool) {
    let keyboard = stdin();
    let mut bytes = [0; 1024];
    while !over.load(Ordering::Relaxed) {
        let mut ready = [PollFd::new(keyboard.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, KEYBOARD_WAIT) {
            Ok(0) | Err(Errno::EINTR) => continue,
            Ok(_) => {}
            Err(_) => return,
        }
        let Ok(length @ 1..) = nix::unistd::read(&keyboard, &mut bytes) else { return };
        if send.blocking_send(bytes.get(..length).unwrap_or_default().to_vec()).is_err() {
            return;
        }
    }
}
