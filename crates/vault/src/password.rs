//! People's passwords: argon2id (RFC 9106), m = 64 MiB, t = 3, p = 1, stored in PHC form.
//!
//! About 100 ms and 64 MiB a hash: fine for a person's login, and never on an agent's path.

use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use thiserror::Error;

/// A password that could not be hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the password could not be hashed; is there 64 MiB of free memory?")]
pub struct HashFault;

/// Hashes a password with 16 random bytes of salt, into PHC form.
///
/// # Errors
/// [`HashFault`] when the hash cannot be made, for want of memory.
pub fn hash_password(password: &str, salt: [u8; 16]) -> Result<String, HashFault> {
    let params = Params::new(64 * 1024, 3, 1, None).map_err(|_| HashFault)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash = argon2.hash_password_with_salt(password.as_bytes(), &salt).map_err(|_| HashFault)?;
    Ok(hash.to_string())
}

/// A well-formed hash with today's parameters that nobody looked for a password to.
const NOBODY: &str =
    "$argon2id$v=19$m=65536,t=3,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Whether `password` gives the hash in PHC form. A damaged hash fits no password. `None`, there is nobody of that
/// name: it takes as long as with somebody, and says no.
#[must_use]
pub fn verify_password(password: &str, phc: Option<&str>) -> bool {
    // The parameters are read from the hash, so older hashes stay good when ours change.
    let argon2 = Argon2::default();
    let hash = phc.unwrap_or(NOBODY);
    let fits = PasswordVerifier::<str>::verify_password(&argon2, password.as_bytes(), hash).is_ok();
    fits && phc.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_fits_its_own_hash_only() {
        let hash = hash_password("correct horse battery", [7; 16]).unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=65536,t=3,p=1$"), "{hash}");
        assert!(verify_password("correct horse battery", Some(&hash)));
        assert!(!verify_password("correct horse batterz", Some(&hash)));
        assert!(!verify_password("correct horse battery", Some("$argon2id$damaged")));
        assert!(!verify_password("", Some("")));
        assert!(!verify_password("correct horse battery", None));
    }

    #[test]
    fn nobody_costs_as_much_work_as_somebody() {
        let parameters = |phc: &str| {
            let parts: Vec<String> = phc.split('$').map(str::to_owned).collect();
            (parts[1..4].to_vec(), parts[4].len(), parts[5].len())
        };
        assert_eq!(parameters(NOBODY), parameters(&hash_password("x", [7; 16]).unwrap()));
        // A hash that does not parse would be refused without any work; this one is worked through.
        let parsed = argon2::password_hash::phc::PasswordHash::new(NOBODY);
        assert!(parsed.is_ok(), "{parsed:?}");
    }
}
