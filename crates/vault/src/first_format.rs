//! The pepper as homes without a key ring have it: sealed under a key derived from the root key itself. It is
//! opened once, when such a home gets its ring.

use crate::{
    RootKey, Secret, Unopened,
    cipher::{Key, bind, derive},
};

const FORMAT: u8 = 1;

/// Opens the pepper of a home that has no key ring yet.
///
/// # Errors
/// [`Unopened`] when it was sealed under another root key, or altered.
pub fn open_first_pepper(root: &RootKey, install: &[u8; 16], sealed: &[u8]) -> Result<Secret, Unopened> {
    open(root, &[install, b"pepper", b"agent keys"], sealed)
}

fn open(root: &RootKey, parts: &[&[u8]], sealed: &[u8]) -> Result<Secret, Unopened> {
    let (format, sealed) = sealed.split_first().ok_or(Unopened)?;
    let key = Key::new(&derive(root.reveal(), b"toolgate/1 sealing"));
    let opened = key.open(&bind(FORMAT, parts), sealed).filter(|_| *format == FORMAT).ok_or(Unopened)?;
    Ok(Secret::new(opened.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_format_stays_readable() {
        // Made with another implementation (Node's crypto): root key 32 × 0x07, nonce 000102…0b, parts "install"
        // and "pepper", plaintext "kept for years".
        let sealed = [
            1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0x4b, 0x65, 0xcc, 0x1b, 0xf7, 0x48, 0x61, 0x16, 0x72,
            0x66, 0xf9, 0x3c, 0xf1, 0xca, 0x85, 0x2e, 0xbe, 0xf8, 0x0c, 0xde, 0xfa, 0x37, 0x95, 0xf7, 0xbd,
            0x1d, 0xb7, 0x3d, 0x58, 0xe8,
        ];
        let root = RootKey::from_bytes([7; 32]);
        assert_eq!(open(&root, &[b"install", b"pepper"], &sealed).unwrap().reveal(), b"kept for years");
        assert!(open(&root, &[b"other", b"pepper"], &sealed).is_err());
        assert!(open_first_pepper(&RootKey::from_bytes([8; 32]), &[0; 16], &sealed).is_err());
    }
}
