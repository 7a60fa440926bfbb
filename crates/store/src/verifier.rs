//! The stored form of a key's MAC: `hmac-sha256$v=1$<base64>`. It names its scheme, so that schemes can change.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use domain::key::KeyMac;

const SCHEME: &str = "hmac-sha256$v=1$";

/// The stored form.
pub fn write(mac: &KeyMac) -> String {
    let mut text = SCHEME.to_owned();
    STANDARD_NO_PAD.encode_string(mac.0, &mut text);
    text
}

/// Reads the stored form; `None` for another scheme or a damaged text.
pub fn read(text: &str) -> Option<KeyMac> {
    let bytes = STANDARD_NO_PAD.decode(text.strip_prefix(SCHEME)?).ok()?;
    bytes.try_into().ok().map(KeyMac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_reads_back() {
        let mac = KeyMac([0xfe; 32]);
        assert_eq!(write(&mac), "hmac-sha256$v=1$/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v4");
        assert_eq!(read(&write(&mac)), Some(mac));
        for bad in ["", "hmac-sha256$v=1$", "hmac-sha256$v=2$AAAA", "sha256$v=1$AAAA", "hmac-sha256$v=1$!!!!"]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
