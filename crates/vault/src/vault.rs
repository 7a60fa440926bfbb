//! The opened vault: seals values one by one, each under a key of its own, and opens them where they belong.
//!
//! A sealed value is
//!
//! ```text
//! 0x01 | term, 32 bits big endian | nonce 12, wrapped key 32, tag 16 | nonce 12, ciphertext, tag 16
//! ```
//!
//! The value is sealed under 256 random bits that seal nothing else; these are sealed under the term's key. Both
//! layers are AES-256-GCM (NIST SP 800-38D), and both bind install and [`Label`]; the outer one binds the term too,
//! so a new term needs new outer layers only. With random 96-bit nonces a key may seal 2^32 times: a term's key
//! seals one key for each value, and `toolgate vault rotate` starts a new count. A cipher with longer nonces would
//! lift that bound, at the price of a second provider of ciphers.

use std::path::{Path, PathBuf};

use arc_swap::ArcSwap;
use domain::keyring::RingKey;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{
    Label, RootKey, Secret, WrongKey,
    cipher::{KEY, Key, NONCE, TAG, bind},
    random,
    ring::Ring,
};

const FORMAT: u8 = 1;
/// Format and term.
const HEAD: usize = 5;
/// The sealed key of a value.
const WRAPPED: usize = NONCE + KEY + TAG;

/// The opened vault of one install.
pub struct Vault {
    install: [u8; 16],
    ring: ArcSwap<Ring>,
    key_file: Option<PathBuf>,
}

/// A sealed text that does not open: altered, moved, cut, or sealed under another key. It does not say which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a sealed value does not open with this vault key; it was altered, moved, or belongs to another key")]
pub struct Unopened;

/// A sealed value taken apart.
struct Parts<'a> {
    term: u32,
    wrapped: &'a [u8],
    body: &'a [u8],
}

impl Vault {
    /// The vault of a new install, and the first row of its key ring, which the caller stores.
    #[must_use]
    pub fn birth(root: &RootKey, install: [u8; 16]) -> (Self, RingKey) {
        let (ring, first) = Ring::birth(root, &install);
        (Self { install, ring: ArcSwap::from_pointee(ring), key_file: None }, first)
    }

    /// Opens the vault: every row of the key ring must open.
    ///
    /// # Errors
    /// [`WrongKey`] when one does not, or none is active.
    pub fn open(root: &RootKey, install: [u8; 16], ring: &[RingKey]) -> Result<Self, WrongKey> {
        let ring = Ring::open(root, &install, ring)?;
        Ok(Self { install, ring: ArcSwap::from_pointee(ring), key_file: None })
    }

    /// Says where the root key lies, so that [`Vault::adopt`] can read it again once it was replaced.
    #[must_use]
    pub fn with_key_file(self, path: &Path) -> Self {
        Self { key_file: Some(path.into()), ..self }
    }

    /// Takes over what others did to the key ring: new terms, and which of them seals. Cheap when nothing is new.
    ///
    /// # Errors
    /// [`WrongKey`] when a new row was sealed under a root key that is not at hand. The terms that were known stay
    /// in use.
    pub fn adopt(&self, ring: &[RingKey]) -> Result<(), WrongKey> {
        let known = self.ring.load();
        if known.knows(ring) {
            return Ok(());
        }
        let fresh = known.with(&self.install, ring).or_else(|wrong| {
            let root = self.key_file.as_deref().and_then(|path| RootKey::load(path).ok()).ok_or(wrong)?;
            Ring::open(&root, &self.install, ring)
        })?;
        self.ring.store(fresh.into());
        Ok(())
    }

    /// The term that new values are sealed under.
    #[must_use]
    pub fn active_term(&self) -> u32 {
        self.ring.load().active()
    }

    /// Seals one value. [`Vault::open_sealed`] must be told the same label.
    #[must_use]
    pub fn seal(&self, label: &Label<'_>, plaintext: &[u8]) -> Vec<u8> {
        let key = Zeroizing::new(random::bytes::<KEY>());
        let ring = self.ring.load();
        let mut sealed = Vec::with_capacity(HEAD + WRAPPED + NONCE + plaintext.len() + TAG);
        self.wrap(&ring, label, &key, &mut sealed);
        Key::new(&key).seal(&self.value_aad(label), plaintext, &mut sealed);
        sealed
    }

    /// Opens what [`Vault::seal`] made with the same label.
    ///
    /// # Errors
    /// [`Unopened`] when any bit of the value, of the label or of the install differs, or its term is unknown.
    pub fn open_sealed(&self, label: &Label<'_>, sealed: &[u8]) -> Result<Secret, Unopened> {
        let parts = Parts::of(sealed)?;
        let key = self.unwrap_key(&self.ring.load(), label, &parts)?;
        let plain = Key::new(&key).open(&self.value_aad(label), parts.body).ok_or(Unopened)?;
        Ok(Secret::new(plain.to_vec()))
    }

    /// Whether a value is of a term that this vault does not have (yet): it may open where the term is known. What is no
    /// sealed value at all opens nowhere.
    #[must_use]
    pub fn lacks_term_of(&self, sealed: &[u8]) -> bool {
        Parts::of(sealed).is_ok_and(|parts| self.ring.load().key(parts.term).is_none())
    }

    /// The same value under the active term; `None` when it is there already. The value itself is not opened.
    ///
    /// # Errors
    /// [`Unopened`] as [`Vault::open_sealed`].
    pub fn rewrap(&self, label: &Label<'_>, sealed: &[u8]) -> Result<Option<Vec<u8>>, Unopened> {
        let (parts, ring) = (Parts::of(sealed)?, self.ring.load());
        if parts.term == ring.active() {
            return Ok(None);
        }
        let key = self.unwrap_key(&ring, label, &parts)?;
        let mut rewrapped = Vec::with_capacity(sealed.len());
        self.wrap(&ring, label, &key, &mut rewrapped);
        rewrapped.extend_from_slice(parts.body);
        Ok(Some(rewrapped))
    }

    /// The row of a new active term, one above the highest of `ring`. This vault uses it once it is
    /// [adopted](Vault::adopt).
    ///
    /// # Errors
    /// [`WrongKey`] when `ring` has been sealed under another root key meanwhile.
    pub fn next_term(&self, ring: &[RingKey]) -> Result<RingKey, WrongKey> {
        self.ring.load().next_term(&self.install, ring)
    }

    /// The rows of the ring under another root key. Sealed values stay as they are.
    ///
    /// # Errors
    /// [`WrongKey`] when a row does not open under this vault's root key.
    pub fn rewrap_ring(&self, ring: &[RingKey], new_root: &RootKey) -> Result<Vec<RingKey>, WrongKey> {
        self.ring.load().rewrap(&self.install, ring, new_root)
    }

    fn wrap(&self, ring: &Ring, label: &Label<'_>, key: &[u8; KEY], out: &mut Vec<u8>) {
        let term = ring.active();
        out.push(FORMAT);
        out.extend_from_slice(&term.to_be_bytes());
        // A ring is only ever made with its active term in it; without one nothing is written that could open.
        if let Some(over) = ring.key(term) {
            over.seal(&self.key_aad(label, term), key, out);
        }
    }

    fn unwrap_key(
        &self,
        ring: &Ring,
        label: &Label<'_>,
        parts: &Parts<'_>,
    ) -> Result<Zeroizing<[u8; KEY]>, Unopened> {
        let over = ring.key(parts.term).ok_or(Unopened)?;
        let key = over.open(&self.key_aad(label, parts.term), parts.wrapped).ok_or(Unopened)?;
        Ok(Zeroizing::new(key.as_slice().try_into().map_err(|_| Unopened)?))
    }

    fn key_aad(&self, label: &Label<'_>, term: u32) -> Vec<u8> {
        self.aad(b"key of a value", label, &term.to_be_bytes())
    }

    fn value_aad(&self, label: &Label<'_>) -> Vec<u8> {
        self.aad(b"value", label, b"")
    }

    fn aad(&self, layer: &[u8], label: &Label<'_>, term: &[u8]) -> Vec<u8> {
        let parts: [&[u8]; 8] = [
            layer,
            &self.install,
            label.purpose.as_str().as_bytes(),
            label.service.as_bytes(),
            label.origin.as_bytes(),
            label.name.as_bytes(),
            &label.version.to_be_bytes(),
            term,
        ];
        bind(FORMAT, &parts)
    }
}

impl<'a> Parts<'a> {
    fn of(sealed: &'a [u8]) -> Result<Self, Unopened> {
        let (head, rest) = sealed.split_at_checked(HEAD).ok_or(Unopened)?;
        let (wrapped, body) = rest.split_at_checked(WRAPPED).ok_or(Unopened)?;
        match *head {
            [FORMAT, a, b, c, d] => Ok(Self { term: u32::from_be_bytes([a, b, c, d]), wrapped, body }),
            _ => Err(Unopened),
        }
    }
}

#[cfg(test)]
mod tests;
