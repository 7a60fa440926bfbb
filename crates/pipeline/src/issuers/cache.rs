//! Tokens already proven, by their hash: checking a signature costs more than all the gates together.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use domain::oauth::Grant;
use jiff::Timestamp;

/// So many are remembered.
const TOKENS_MAX: usize = 4_096;

/// A token whose signature is good.
#[derive(Clone)]
pub(super) struct Proven {
    /// Its issuer's place in the list.
    pub(super) issuer: usize,
    /// The issuer's keys that it was proven with; with others it must be proven again.
    pub(super) generation: u64,
    pub(super) grant: Arc<Grant>,
}

/// The tokens, by SHA-256. None outlives its `exp`.
#[derive(Default)]
pub(super) struct Verified(Mutex<HashMap<[u8; 32], Proven>>);

impl Verified {
    pub(super) fn get(&self, hash: &[u8; 32], now: Timestamp) -> Option<Proven> {
        self.lock().get(hash).filter(|proven| now < proven.grant.expires_at).cloned()
    }

    pub(super) fn put(&self, hash: [u8; 32], proven: Proven, now: Timestamp) {
        let mut tokens = self.lock();
        if tokens.len() >= TOKENS_MAX {
            tokens.retain(|_, proven| now < proven.grant.expires_at);
        }
        if tokens.len() >= TOKENS_MAX {
            // More good tokens than that at once: they are proven again when they come.
            tokens.clear();
        }
        tokens.insert(hash, proven);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Proven>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
