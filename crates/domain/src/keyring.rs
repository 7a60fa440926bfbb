//! The rows of the vault's key ring, as the store keeps them. Everything here is ciphertext or public.

/// One term of the key ring: a key that seals other keys, itself sealed under the root key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingKey {
    /// Its number, from 1 on; sealed values name it.
    pub term: u32,
    /// Whether it may still be what new values are sealed under: of several active terms the highest seals.
    /// Two active terms mean that a rotation has not been finished. The others only open.
    pub active: bool,
    /// The key, sealed under the root key.
    pub wrapped: Vec<u8>,
}
