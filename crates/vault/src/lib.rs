//! Floor 2: keys and secrets. Seals what the store keeps, hashes keys and passwords, and is the one place
//! that asks the machine for randomness. It does no I/O but reading, creating and replacing the key file.

mod access;
mod cipher;
mod first_format;
mod label;
mod password;
mod pepper;
mod process;
pub mod random;
mod replace_key;
mod ring;
mod root_key;
mod secret;
mod session;
mod signature;
mod vault;

pub use access::AccessKeys;
pub use domain::keyring::RingKey;
pub use first_format::open_first_pepper;
pub use label::{Label, Purpose};
pub use password::{HashFault, hash_password, verify_password};
pub use pepper::Pepper;
pub use process::harden_process;
pub use replace_key::{KeyLock, NextKey};
pub use ring::WrongKey;
pub use root_key::{KeyFileFault, NotAKeyText, PassphraseFault, RootKey};
pub use secret::Secret;
pub use session::SessionSealer;
pub use signature::{Algorithm, PublicKey};
pub use vault::{Unopened, Vault};
