//! The vault's keys can be replaced, and whatever is cut off, every value stays readable.

use std::sync::Arc;

use admin::{Actor, Admin, AdminError, open_pepper, open_session_sealer, open_vault};
use domain::keyring::RingKey;
use store::{Change, Entry, Query, Store};
use vault::{Label, Purpose, RootKey, Vault};

use crate::install::{now, store};

struct Home {
    admin: Admin,
    store: Arc<Store>,
    _folder: tempfile::TempDir,
}

impl Home {
    async fn new() -> Self {
        let (store, folder) = store().await;
        Self { admin: Admin::new(store.clone()), store, _folder: folder }
    }

    async fn open(&self, byte: u8) -> Result<Vault, AdminError> {
        open_vault(&self.store, &root(byte), now()).await
    }

    async fn rotate(&self, vault: &Vault) -> Result<admin::Rotated, AdminError> {
        self.admin.rotate_vault(&actor(), now(), vault, |_| ()).await
    }

    /// `action args` of every event, in order.
    async fn trail(&self) -> Vec<String> {
        assert!(self.store.verify(|_, _| {}).await.unwrap().ok);
        let events = self.store.events(&Query::default()).await.unwrap();
        let args = |rec: &str| {
            let rec: serde_json::Value = serde_json::from_str(rec).unwrap();
            rec["args"].to_string()
        };
        events.iter().map(|event| format!("{} {}", event.action.clone().unwrap(), args(&event.rec))).collect()
    }
}

fn root(byte: u8) -> RootKey {
    RootKey::from_bytes([byte; 32])
}

fn actor() -> Actor {
    Actor::os_user("ada")
}

const PEPPER: Label<'static> = Label::of_install(Purpose::Pepper);

#[tokio::test]
async fn the_secrets_of_an_install_are_made_once_and_open_with_its_own_key_only() {
    let home = Home::new().await;
    let key = domain::key::mint([1; 5], [2; 32]);
    let vault = home.open(1).await.unwrap();
    let mac = open_pepper(&home.store, &vault).await.unwrap().mac(&key);
    let session = open_session_sealer(&home.store, &vault).await.unwrap().seal(b"session");
    let again = home.open(1).await.unwrap();
    assert_eq!(open_pepper(&home.store, &again).await.unwrap().mac(&key), mac);
    assert_eq!(open_session_sealer(&home.store, &again).await.unwrap().open(&session).unwrap(), b"session");
    assert!(matches!(home.open(2).await, Err(AdminError::WrongVaultKey)));
    let (pepper, session) = ("pepper", "session-key");
    let moved = home.store.sealed_get(session).await.unwrap().unwrap();
    let stored = home.store.sealed_page(&home.store.sealed_tables()[0], None, None, 1).await.unwrap();
    assert_eq!(stored[0].purpose, pepper);
    let swap = [(stored[0].place.clone(), stored[0].value.clone(), moved)];
    assert_eq!(home.store.sealed_replace(&swap).await.unwrap(), 1);
    assert!(
        matches!(open_pepper(&home.store, &again).await, Err(AdminError::WrongVaultKey)),
        "a moved value"
    );
}

#[tokio::test]
async fn a_home_from_before_key_rings_keeps_its_pepper() {
    let home = Home::new().await;
    // Made with Python's `cryptography` as the first format has it: root key 32 × 0x01, install 16 × 0x07,
    // pepper 32 × 0x05, nonce 12 × 0x02.
    let old: Vec<u8> = OLD_PEPPER.as_bytes().chunks(2).map(hex_byte).collect();
    home.store.sealed_put_if_absent("pepper", &old).await.unwrap();
    assert!(matches!(home.open(2).await, Err(AdminError::WrongVaultKey)));
    assert!(home.store.keyring().await.unwrap().is_empty(), "no ring is made with a wrong key");
    let vault = home.open(1).await.unwrap();
    let sealed = home.store.sealed_get("pepper").await.unwrap().unwrap();
    assert_ne!(sealed, old);
    assert_eq!(vault.open_sealed(&PEPPER, &sealed).unwrap().reveal(), [5; 32]);
    assert!(open_pepper(&home.store, &home.open(1).await.unwrap()).await.is_ok());
}

const OLD_PEPPER: &str = "0102020202020202020202020285195cee6d395afb06fc243cc94f6900c98e703c7f5bc84d15d73a\
     469a633d1428cc432b9029a4c4e715b7dbdaa81dcb";

fn hex_byte(pair: &[u8]) -> u8 {
    u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()
}

#[tokio::test]
async fn rotating_takes_every_value_to_the_new_term() {
    let home = Home::new().await;
    let vault = home.open(1).await.unwrap();
    let running = home.open(1).await.unwrap();
    open_pepper(&home.store, &vault).await.unwrap();
    open_session_sealer(&home.store, &vault).await.unwrap();
    let old = home.store.sealed_get("pepper").await.unwrap().unwrap();
    let rotated = home.rotate(&vault).await.unwrap();
    assert_eq!((rotated.term, rotated.rewrapped, rotated.checked, rotated.resumed), (2, 2, 2, false));
    let terms = home.admin.vault_terms().await.unwrap();
    let shown: Vec<_> = terms.iter().map(|term| (term.term, term.active, term.values)).collect();
    assert_eq!(shown, [(1, false, 0), (2, true, 2)]);
    let new = home.store.sealed_get("pepper").await.unwrap().unwrap();
    assert_ne!(old, new);
    assert!(running.open_sealed(&PEPPER, &new).is_err(), "not noticed yet");
    let late = running.seal(&Label { name: "late", ..PEPPER }, b"value");
    home.store.sealed_put_if_absent("pepper/late", &late).await.unwrap();
    assert_eq!(
        home.admin.vault_terms().await.unwrap()[0].values,
        1,
        "a gateway sealed it under the old term"
    );
    assert_eq!(home.admin.take_over_late_values(&vault).await.unwrap(), 1);
    assert_eq!(home.admin.vault_terms().await.unwrap()[0].values, 0);
    running.adopt(&home.store.snapshot().await.unwrap().keyring).unwrap();
    for sealed in [&old, &new] {
        assert!(running.open_sealed(&PEPPER, sealed).is_ok());
    }
    assert_eq!(home.rotate(&vault).await.unwrap().term, 3);
    assert_eq!(
        home.trail().await,
        [
            r#"vault.rotate {"term":2,"step":"begun"}"#,
            r#"vault.rotate {"term":2,"step":"finished","rewrapped":2}"#,
            r#"vault.rotate {"term":3,"step":"begun"}"#,
            r#"vault.rotate {"term":3,"step":"finished","rewrapped":3}"#,
        ]
    );
}

#[tokio::test]
async fn a_rotation_that_was_cut_off_is_finished_before_another_begins() {
    let home = Home::new().await;
    let vault = home.open(1).await.unwrap();
    open_pepper(&home.store, &vault).await.unwrap();
    let ring: Vec<RingKey> = home.store.keyring().await.unwrap().into_iter().map(|term| term.key).collect();
    let next = vault.next_term(&ring).unwrap();
    let change = Change::SetKeyring { from: ring, to: vec![next], salt: None, at: now() };
    let event = domain::audit::Event::new(now(), domain::audit::Kind::Operator);
    home.store.append(&[Entry { change: Some(change), event }]).await.unwrap();
    let after_the_crash = home.open(1).await.unwrap();
    assert!(open_pepper(&home.store, &after_the_crash).await.is_ok());
    let rotated = home.rotate(&after_the_crash).await.unwrap();
    assert_eq!((rotated.term, rotated.rewrapped, rotated.resumed), (2, 1, true));
    assert_eq!(home.admin.vault_terms().await.unwrap().iter().filter(|term| term.active).count(), 1);
}

#[tokio::test]
async fn two_rotations_at_once_leave_one_active_term_and_every_value_readable() {
    let home = Home::new().await;
    let (one, two) = (home.open(1).await.unwrap(), home.open(1).await.unwrap());
    open_pepper(&home.store, &one).await.unwrap();
    for _ in 0..5 {
        let (first, second) = tokio::join!(home.rotate(&one), home.rotate(&two));
        // Whoever lost a race says so; nothing is lost.
        for result in [first, second] {
            assert!(matches!(result, Ok(_) | Err(AdminError::ChangedMeanwhile(_))));
        }
        let now = home.open(1).await.unwrap();
        assert!(open_pepper(&home.store, &now).await.is_ok());
        let active = home.admin.vault_terms().await.unwrap().iter().filter(|term| term.active).count();
        assert_eq!(active, 1);
    }
}

#[tokio::test]
async fn a_value_that_does_not_open_stops_the_rotation_and_is_named() {
    let home = Home::new().await;
    let vault = home.open(1).await.unwrap();
    open_pepper(&home.store, &vault).await.unwrap();
    let row = home.store.sealed_page(&home.store.sealed_tables()[0], None, None, 1).await.unwrap().remove(0);
    let mut altered = row.value.clone();
    *altered.last_mut().unwrap() ^= 1;
    home.store.sealed_replace(&[(row.place, row.value, altered)]).await.unwrap();
    let error = home.rotate(&vault).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "a sealed value does not open (pepper); it was altered: set it again, or bring it back from a backup"
    );
    assert_eq!(home.admin.vault_terms().await.unwrap().iter().filter(|term| term.active).count(), 2);
}

#[tokio::test]
async fn another_root_key_opens_everything_and_the_old_one_nothing() {
    let home = Home::new().await;
    let vault = home.open(1).await.unwrap();
    open_pepper(&home.store, &vault).await.unwrap();
    home.rotate(&vault).await.unwrap();
    let sealed = home.store.sealed_get("pepper").await.unwrap();
    let terms = home.admin.rekey_vault(&actor(), now(), &vault, &root(2), Some([9; 16])).await.unwrap();
    assert_eq!(terms, 2);
    assert_eq!(home.store.sealed_get("pepper").await.unwrap(), sealed, "values stay as they are");
    assert_eq!(home.store.vault_salt(None).await.unwrap(), Some([9; 16]));
    assert!(matches!(home.open(1).await, Err(AdminError::WrongVaultKey)));
    let now_open = home.open(2).await.unwrap();
    assert!(open_pepper(&home.store, &now_open).await.is_ok());
    assert_eq!(home.rotate(&now_open).await.unwrap().term, 3);
    // A process that still has the old root key cannot put a term into the ring that nobody could open.
    assert!(home.rotate(&vault).await.is_err());
    assert!(home.admin.rekey_vault(&actor(), now(), &vault, &root(3), None).await.is_err());
    assert!(open_pepper(&home.store, &home.open(2).await.unwrap()).await.is_ok());
    let expected = r#"vault.rekey {"terms":2}"#;
    assert!(home.trail().await.iter().any(|event| event == expected));
}
