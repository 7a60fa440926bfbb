//! Keys of agents and tokens of operators have one form: `<prefix>_<id 8>_<secret 43>_<check 6>`, 63 characters.
//!
//! The id is public (shown, recorded), the secret is 256 random bits, the check is a CRC-32 that finds a
//! typing error before anything is looked up. The fixed prefix lets secret scanners recognise a leaked one.

use super::KeyId;

const LENGTH: usize = 63;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A well-formed text of this form. It has no `Debug` and no `Display`, and is overwritten when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Minted {
    text: String,
    id: KeyId,
}

impl Minted {
    /// Reads a text: `prefix` (four bytes, its `_` among them), lengths, alphabet and check must fit.
    pub fn parse(prefix: &str, text: &str) -> Option<Self> {
        let (body, check) = (text.get(..LENGTH - 6)?, text.get(LENGTH - 6..)?);
        let inner = body.strip_prefix(prefix)?.strip_suffix('_')?;
        let (id, secret) = inner.split_once('_')?;
        let id = KeyId::parse(id).filter(|id| !id.is_of_token())?;
        let is_plain = secret.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let whole = text.len() == LENGTH && secret.len() == 43 && is_plain;
        (whole && check == check_of(body)).then(|| Self { text: text.to_owned(), id })
    }

    /// Makes one of random bits: 5 bytes for the id, 32 for the secret.
    pub fn mint(prefix: &str, id: [u8; 5], secret: [u8; 32]) -> Self {
        let id = KeyId::of_bits(id);
        let mut text = format!("{prefix}{id}_{}_", base62(secret));
        let check = check_of(&text);
        text.push_str(&check);
        Self { text, id }
    }

    /// The public part.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The whole text.
    pub fn reveal(&self) -> &str {
        &self.text
    }
}

impl Drop for Minted {
    fn drop(&mut self) {
        wipe(&mut self.text);
    }
}

/// Best effort without `unsafe`: overwrites a text before its memory is given back.
pub(crate) fn wipe(text: &mut String) {
    let mut bytes = std::mem::take(text).into_bytes();
    bytes.fill(0);
    std::hint::black_box(&bytes);
}

/// 32 bytes as 43 digits of base 62 (62^43 > 2^256), most significant first.
fn base62(mut bytes: [u8; 32]) -> String {
    let mut digits = [b'0'; 43];
    for place in digits.iter_mut().rev() {
        let mut rest = 0u32;
        for byte in &mut bytes {
            let value = (rest << 8) | u32::from(*byte);
            *byte = u8::try_from(value / 62).unwrap_or(0);
            rest = value % 62;
        }
        *place = digit62(rest);
    }
    String::from_utf8_lossy(&digits).into_owned()
}

/// CRC-32 (IEEE 802.3) of the text, as six digits of base 62.
fn check_of(text: &str) -> String {
    let mut crc = u32::MAX;
    for byte in text.bytes() {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    let mut value = !crc;
    let mut digits = [b'0'; 6];
    for place in digits.iter_mut().rev() {
        *place = digit62(value % 62);
        value /= 62;
    }
    String::from_utf8_lossy(&digits).into_owned()
}

fn digit62(value: u32) -> u8 {
    BASE62.get(value as usize).copied().unwrap_or(b'0')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{PresentedKey, mint};

    #[test]
    fn a_key_has_the_published_form() {
        let key = mint([1, 2, 3, 4, 5], [0xff; 32]);
        let text = key.reveal();
        assert_eq!(text.len(), 63);
        assert!(text.starts_with("agt_") && text.get(12..13) == Some("_") && text.get(56..57) == Some("_"));
        assert_eq!(PresentedKey::parse(text).unwrap().id(), key.id());
    }

    #[test]
    fn one_wrong_character_anywhere_is_no_key() {
        let key = mint([9; 5], [7; 32]);
        for at in 0..63 {
            let mut bytes = key.reveal().as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'a' { b'b' } else { b'a' };
            let text = String::from_utf8(bytes).unwrap();
            assert!(PresentedKey::parse(&text).is_none(), "{at}: {text}");
        }
        for text in ["", "agt_", "agt_äöü", &format!("{}x", key.reveal()), key.reveal().get(..62).unwrap()]
        {
            assert!(PresentedKey::parse(text).is_none());
        }
    }

    #[test]
    fn different_secrets_make_different_keys() {
        let all: std::collections::HashSet<_> =
            (0..=255u8).map(|n| mint([0; 5], [n; 32]).reveal().to_owned()).collect();
        assert_eq!(all.len(), 256);
        assert_eq!(base62([0; 32]), "0".repeat(43));
    }

    #[test]
    fn the_check_is_crc32_of_ieee() {
        // CRC-32("123456789") is 0xcbf43926, the standard check value.
        assert_eq!(check_of("123456789"), {
            let mut value = 0xcbf4_3926_u32;
            let mut digits = vec![];
            for _ in 0..6 {
                digits.push(BASE62[(value % 62) as usize]);
                value /= 62;
            }
            digits.reverse();
            String::from_utf8(digits).unwrap()
        });
    }
}
