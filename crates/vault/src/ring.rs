//! The key ring in memory: terms and their keys, opened with the root key. A term's key seals the keys of single
//! values and nothing else.

use std::{collections::BTreeMap, sync::Arc};

use domain::keyring::RingKey;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{
    RootKey,
    cipher::{KEY, Key, bind, derive},
    random,
};

const FORMAT: u8 = 1;

/// The key ring does not open: it was sealed under another root key, or is damaged. It does not say which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the key ring does not open with this vault key; it belongs to another key, or was altered")]
pub struct WrongKey;

/// The opened ring. Immutable; a change makes a new one.
pub struct Ring {
    wrapping: Arc<Key>,
    active: u32,
    terms: BTreeMap<u32, Arc<Key>>,
}

/// Seals terms under a root key, and opens them.
struct Wrapping<'a> {
    key: &'a Key,
    install: &'a [u8; 16],
}

impl Wrapping<'_> {
    fn aad(&self, term: u32) -> Vec<u8> {
        bind(FORMAT, &[b"key ring", self.install, &term.to_be_bytes()])
    }

    fn wrap(&self, term: u32, key: &[u8; KEY]) -> Vec<u8> {
        let mut wrapped = vec![FORMAT];
        self.key.seal(&self.aad(term), key, &mut wrapped);
        wrapped
    }

    fn open(&self, term: u32, wrapped: &[u8]) -> Result<Zeroizing<[u8; KEY]>, WrongKey> {
        let (format, sealed) = wrapped.split_first().ok_or(WrongKey)?;
        let opened = self.key.open(&self.aad(term), sealed).filter(|_| *format == FORMAT).ok_or(WrongKey)?;
        Ok(Zeroizing::new(opened.as_slice().try_into().map_err(|_| WrongKey)?))
    }
}

/// The key that terms are sealed under.
fn wrapping_key(root: &RootKey) -> Key {
    Key::new(&derive(root.reveal(), b"toolgate/1 key ring"))
}

impl Ring {
    /// A ring of one new term, and its row.
    pub fn birth(root: &RootKey, install: &[u8; 16]) -> (Self, RingKey) {
        let mut ring = Self { wrapping: Arc::new(wrapping_key(root)), active: 1, terms: BTreeMap::new() };
        let (first, key) = ring.new_term(install, 1);
        ring.terms.insert(first.term, Arc::new(Key::new(&key)));
        (ring, first)
    }

    /// Opens every row.
    pub fn open(root: &RootKey, install: &[u8; 16], rows: &[RingKey]) -> Result<Self, WrongKey> {
        let wrapping = Arc::new(wrapping_key(root));
        Self { wrapping, active: 0, terms: BTreeMap::new() }.with(install, rows)
    }

    /// The ring that `rows` are. Terms that are known are not opened again, so that a ring outlives a change of
    /// the root key that another process made.
    pub fn with(&self, install: &[u8; 16], rows: &[RingKey]) -> Result<Self, WrongKey> {
        let wrapping = Wrapping { key: &self.wrapping, install };
        let mut terms = BTreeMap::new();
        for row in rows {
            let key = match self.terms.get(&row.term) {
                Some(known) => Arc::clone(known),
                None => Arc::new(Key::new(&*wrapping.open(row.term, &row.wrapped)?)),
            };
            terms.insert(row.term, key);
        }
        let active = rows.iter().filter(|row| row.active).map(|row| row.term).max().ok_or(WrongKey)?;
        Ok(Self { wrapping: Arc::clone(&self.wrapping), active, terms })
    }

    /// Whether `rows` hold nothing new.
    pub fn knows(&self, rows: &[RingKey]) -> bool {
        let active = rows.iter().filter(|row| row.active).map(|row| row.term).max();
        active == Some(self.active) && rows.iter().all(|row| self.terms.contains_key(&row.term))
    }

    /// The term that seals.
    pub fn active(&self) -> u32 {
        self.active
    }

    /// A term's key.
    pub fn key(&self, term: u32) -> Option<&Key> {
        self.terms.get(&term).map(AsRef::as_ref)
    }

    /// The row of the term that follows `rows`. All of them must open under the same root key: a term beside
    /// rows that another root key seals could never be opened together with them.
    pub fn next_term(&self, install: &[u8; 16], rows: &[RingKey]) -> Result<RingKey, WrongKey> {
        let wrapping = Wrapping { key: &self.wrapping, install };
        for row in rows {
            wrapping.open(row.term, &row.wrapped)?;
        }
        let highest = rows.iter().map(|row| row.term).max().ok_or(WrongKey)?;
        Ok(self.new_term(install, highest.checked_add(1).ok_or(WrongKey)?).0)
    }

    fn new_term(&self, install: &[u8; 16], term: u32) -> (RingKey, Zeroizing<[u8; KEY]>) {
        let key = Zeroizing::new(random::bytes::<KEY>());
        let wrapped = Wrapping { key: &self.wrapping, install }.wrap(term, &key);
        (RingKey { term, active: true, wrapped }, key)
    }

    /// All of `rows`, sealed under another root key.
    pub fn rewrap(
        &self,
        install: &[u8; 16],
        rows: &[RingKey],
        root: &RootKey,
    ) -> Result<Vec<RingKey>, WrongKey> {
        let (old, new) = (Wrapping { key: &self.wrapping, install }, wrapping_key(root));
        let new = Wrapping { key: &new, install };
        let rewrapped = |row: &RingKey| {
            let key = old.open(row.term, &row.wrapped)?;
            Ok(RingKey { wrapped: new.wrap(row.term, &key), ..row.clone() })
        };
        rows.iter().map(rewrapped).collect()
    }
}
