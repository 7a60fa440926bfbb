//! The bank: an HTTP API that notes what reaches it. Its connections lead through memory.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use pipeline::dial::Lead;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use crate::{
    chance::Chance,
    gateway::SimulatedClock,
    history::{Fact, History},
    ledger::Ledger,
};

/// How much of a request is read at most (bytes).
const REQUEST_BYTES_MAX: usize = 16 * 1024;
/// How long a connection takes to come up (ms).
const CONNECTING_MS: [u64; 6] = [0, 0, 0, 50, 400, 800];

/// What all connections to the bank share.
#[derive(Clone)]
pub struct Bank {
    history: History,
    ledger: Arc<Ledger>,
    chance: Arc<Mutex<Chance>>,
    serial: Arc<AtomicU64>,
}

impl Bank {
    pub fn new(history: History, ledger: Arc<Ledger>, chance: Chance) -> Self {
        let serial = Arc::new(AtomicU64::new(0));
        Self { history, ledger, chance: Arc::new(Mutex::new(chance)), serial }
    }

    /// The way from a gateway to the bank. It ends with the gateway.
    pub fn lead(&self, clock: &Arc<SimulatedClock>) -> Lead {
        let (bank, clock) = (self.clone(), Arc::clone(clock));
        Arc::new(move || {
            let (here, there) = tokio::io::duplex(REQUEST_BYTES_MAX);
            let (bank, clock) = (bank.clone(), Arc::clone(&clock));
            let takes = bank.draw(|chance| chance.pick(&CONNECTING_MS));
            tokio::spawn(async move { bank.serve(there, &clock).await });
            (Duration::from_millis(takes), here)
        })
    }

    fn draw<T>(&self, draw: impl FnOnce(&mut Chance) -> T) -> T {
        draw(&mut self.chance.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn serve(self, mut stream: DuplexStream, clock: &SimulatedClock) {
        let mut request = Vec::new();
        while let Some(op) = read_request(&mut stream, &mut request).await {
            let serial = self.serial.fetch_add(1, Ordering::Relaxed);
            // Asked now, in the store itself: later it would be too late.
            let intents = self.ledger.intents_of(op);
            self.history.push(clock.time(), Fact::Reached { op, serial, intents });
            let (what, pause) = self.draw(|chance| (chance.below(20), chance.below(300)));
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let status = match what {
                0 => return,
                1 => std::future::pending().await,
                2 => "500 Internal Server Error",
                _ => "200 OK",
            };
            let body = format!(r#"{{"serial":{serial}}}"#);
            let head = "content-type: application/json\r\ncontent-length";
            let answer = format!("HTTP/1.1 {status}\r\n{head}: {}\r\n\r\n{body}", body.len());
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

/// Reads a request whole; the number of the call that it is.
async fn read_request(stream: &mut DuplexStream, bytes: &mut Vec<u8>) -> Option<usize> {
    loop {
        let text = String::from_utf8_lossy(bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let lower = head.to_ascii_lowercase();
            let length = lower.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
            if body.len() >= length {
                let path = head.split(' ').nth(1).unwrap();
                let op = path.rsplit('/').next().unwrap().parse().unwrap();
                bytes.drain(..head.len() + 4 + length);
                return Some(op);
            }
        }
        assert!(bytes.len() < REQUEST_BYTES_MAX, "a request without an end");
        if stream.read_buf(bytes).await.ok()? == 0 {
            return None;
        }
    }
}
