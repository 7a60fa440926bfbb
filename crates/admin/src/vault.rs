//! The vault's keys as an operator handles them: opened, looked at, rotated, given another root key.
//!
//! Rotating is online and can be cut off anywhere: every value names its term, every term stays in the ring, and
//! two active terms say that a rotation is not finished.

use domain::keyring::RingKey;
use jiff::Timestamp;
use serde_json::json;
use store::{Change, SealedPlace, SealedRow, Store, StoredTerm};
use vault::{Label, Purpose, RootKey, Vault, open_first_pepper};

use crate::{Actor, Admin, AdminError, event};

/// How many values are rewrapped in one transaction.
const BATCH: u32 = 100;
/// How often all values are gone through again because others sealed some under an older term meanwhile.
const ROUNDS_MAX: usize = 10;

/// A term of the key ring, and how many values it seals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TermView {
    /// Its number.
    pub term: u32,
    /// Whether new values may be sealed under it.
    pub active: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// Values that it seals.
    pub values: u64,
}

/// What a rotation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotated {
    /// The term that seals from now on.
    pub term: u32,
    /// Values that were taken over.
    pub rewrapped: u64,
    /// Values that were opened once more, to see that they do.
    pub checked: u64,
    /// Whether this finished a rotation that had been cut off; no further term was made then.
    pub resumed: bool,
}

/// Opens the vault of a store with its root key. A store that has no key ring yet gets one; the pepper of a home
/// from before there were key rings is sealed anew with it.
///
/// # Errors
/// [`AdminError::WrongVaultKey`] when the ring, or the pepper without a ring, does not open with this key.
pub async fn open_vault(store: &Store, root: &RootKey, now: Timestamp) -> Result<Vault, AdminError> {
    if store.keyring().await?.is_empty() {
        let (vault, first) = Vault::birth(root, *store.install());
        let name = Purpose::Pepper.as_str();
        let resealed = match store.sealed_get(name).await? {
            None => None,
            Some(old) => match open_first_pepper(root, store.install(), &old) {
                Ok(pepper) => Some(vault.seal(&Label::of_install(Purpose::Pepper), pepper.reveal())),
                // Another process may have made the ring just now, and sealed the pepper anew with it.
                Err(_) if !store.keyring().await?.is_empty() => None,
                Err(unopened) => return Err(unopened.into()),
            },
        };
        let resealed = resealed.as_deref().map(|value| (name, value));
        store.keyring_begin(&first, resealed, now).await?;
    }
    // Read again: another process may have been quicker.
    let ring = keys(store.keyring().await?);
    Vault::open(root, *store.install(), &ring).map_err(|_| AdminError::WrongVaultKey)
}

impl Admin {
    /// The terms of the key ring, oldest first; needs no root key.
    ///
    /// # Errors
    /// [`AdminError::Store`].
    pub async fn vault_terms(&self) -> Result<Vec<TermView>, AdminError> {
        let (terms, counts) = (self.store.keyring().await?, self.store.sealed_counts().await?);
        let values = |term| counts.iter().find(|(of, _)| *of == term).map_or(0, |(_, values)| *values);
        let view = |StoredTerm { key, created_at }| TermView {
            term: key.term,
            active: key.active,
            created_at,
            values: values(key.term),
        };
        Ok(terms.into_iter().map(view).collect())
    }

    /// Makes a new term and takes every sealed value over to it; older terms only open from then on. A rotation
    /// that was cut off is finished first, and that is all then. Gateways go on meanwhile.
    ///
    /// # Errors
    /// [`AdminError::SealedValue`] names a value that does not open: what was taken over stays so, and the older
    /// terms stay active. [`AdminError::ChangedMeanwhile`] when others keep changing the ring.
    pub async fn rotate_vault(
        &self,
        actor: &Actor,
        now: Timestamp,
        vault: &Vault,
        progress: impl Fn(u64),
    ) -> Result<Rotated, AdminError> {
        let mut ring = keys(self.store.keyring().await?);
        let mut resumed = is_unfinished(&ring);
        if !resumed {
            let next = vault.next_term(&ring).map_err(|_| AdminError::WrongVaultKey)?;
            let event = event(actor, now, "vault.rotate", &json!({ "term": next.term, "step": "begun" }));
            let change = set(&ring, vec![next], None, now);
            // Somebody else may have begun one at this moment: it is as good.
            resumed = !self.write(change, event).await?;
            ring = keys(self.store.keyring().await?);
            if !is_unfinished(&ring) {
                return Err(AdminError::ChangedMeanwhile("the key ring".to_owned()));
            }
        }
        vault.adopt(&ring).map_err(|_| AdminError::WrongVaultKey)?;
        let term = vault.active_term();
        let rewrapped = self.rewrap_all(vault, term, &progress).await?;
        let checked = self.check_all(vault).await?;
        self.retire_before(actor, now, term, rewrapped).await?;
        Ok(Rotated { term, rewrapped, checked, resumed })
    }

    /// Takes over what gateways sealed under an older term before they noticed the newest, which they do within a
    /// second of [`rotate_vault`](Self::rotate_vault); how many values.
    ///
    /// # Errors
    /// [`AdminError::SealedValue`]; older terms go on opening what is left.
    pub async fn take_over_late_values(&self, vault: &Vault) -> Result<u64, AdminError> {
        self.rewrap_all(vault, vault.active_term(), &|_| ()).await
    }

    /// Seals the key ring under another root key. `new` must be safe on a disk, or in somebody's hands, before
    /// this is called: from then on nothing opens without it. Sealed values stay as they are.
    ///
    /// # Errors
    /// [`AdminError::ChangedMeanwhile`] when somebody else has changed the ring since `vault` was opened; nothing is sealed
    /// under `new` then.
    pub async fn rekey_vault(
        &self,
        actor: &Actor,
        now: Timestamp,
        vault: &Vault,
        new: &RootKey,
        salt: Option<[u8; 16]>,
    ) -> Result<usize, AdminError> {
        let ring = keys(self.store.keyring().await?);
        let meanwhile = || AdminError::ChangedMeanwhile("the key ring".to_owned());
        let rewrapped = vault.rewrap_ring(&ring, new).map_err(|_| meanwhile())?;
        // Read back before it counts: a ring that does not open would lose everything.
        Vault::open(new, *self.store.install(), &rewrapped).map_err(|_| AdminError::WrongVaultKey)?;
        let event = event(actor, now, "vault.rekey", &json!({ "terms": ring.len() }));
        if !self.write(set(&ring, rewrapped, salt, now), event).await? {
            return Err(meanwhile());
        }
        Ok(ring.len())
    }

    /// Rewraps whatever an older term seals, until nothing is left.
    async fn rewrap_all(&self, vault: &Vault, term: u32, progress: &impl Fn(u64)) -> Result<u64, AdminError> {
        let mut rewrapped = 0;
        for _ in 0..ROUNDS_MAX {
            let mut found = 0;
            for table in self.store.sealed_tables() {
                let mut after: Option<SealedPlace> = None;
                loop {
                    let page = self.store.sealed_page(table, after.as_ref(), Some(term), BATCH).await?;
                    let Some(last) = page.last() else { break };
                    after = Some(last.place.clone());
                    found += page.len();
                    let mut replacements = Vec::with_capacity(page.len());
                    for row in page {
                        let new = label(&row).and_then(|label| vault.rewrap(&label, &row.value).ok());
                        let new = new.ok_or_else(|| does_not_open(&row))?;
                        replacements.extend(new.map(|new| (row.place, row.value, new)));
                    }
                    rewrapped += self.store.sealed_replace(&replacements).await?;
                    progress(rewrapped);
                }
            }
            if found == 0 {
                return Ok(rewrapped);
            }
        }
        // Gateways that have not noticed the new term yet seal under the older one, which keeps opening them.
        Ok(rewrapped)
    }

    /// Opens every value once.
    async fn check_all(&self, vault: &Vault) -> Result<u64, AdminError> {
        let mut checked = 0;
        for table in self.store.sealed_tables() {
            let mut after: Option<SealedPlace> = None;
            loop {
                let page = self.store.sealed_page(table, after.as_ref(), None, BATCH).await?;
                let Some(last) = page.last() else { break };
                after = Some(last.place.clone());
                for row in page {
                    let label = label(&row).ok_or_else(|| does_not_open(&row))?;
                    if vault.open_sealed(&label, &row.value).is_err() {
                        // Another process may have begun a further term.
                        vault
                            .adopt(&keys(self.store.keyring().await?))
                            .map_err(|_| AdminError::WrongVaultKey)?;
                        vault.open_sealed(&label, &row.value).map_err(|_| does_not_open(&row))?;
                    }
                    checked += 1;
                }
            }
        }
        Ok(checked)
    }

    /// Terms before `term` only open from now on.
    async fn retire_before(
        &self,
        actor: &Actor,
        now: Timestamp,
        term: u32,
        rewrapped: u64,
    ) -> Result<(), AdminError> {
        for _ in 0..ROUNDS_MAX {
            let ring = keys(self.store.keyring().await?);
            let old = ring.iter().filter(|key| key.active && key.term < term);
            let retired: Vec<RingKey> = old.map(|key| RingKey { active: false, ..key.clone() }).collect();
            if retired.is_empty() {
                return Ok(());
            }
            let args = json!({ "term": term, "step": "finished", "rewrapped": rewrapped });
            if self.write(set(&ring, retired, None, now), event(actor, now, "vault.rotate", &args)).await? {
                return Ok(());
            }
        }
        Err(AdminError::ChangedMeanwhile("the key ring".to_owned()))
    }
}

fn keys(terms: Vec<StoredTerm>) -> Vec<RingKey> {
    terms.into_iter().map(|term| term.key).collect()
}

fn is_unfinished(ring: &[RingKey]) -> bool {
    ring.iter().filter(|key| key.active).count() > 1
}

fn set(from: &[RingKey], to: Vec<RingKey>, salt: Option<[u8; 16]>, at: Timestamp) -> Change {
    Change::SetKeyring { from: from.to_vec(), to, salt, at }
}

/// What a stored value is; `None` when its purpose is unknown.
fn label(row: &SealedRow) -> Option<Label<'_>> {
    let purpose = Purpose::parse(&row.purpose)?;
    Some(Label { purpose, service: &row.service, origin: &row.origin, name: &row.name, version: row.version })
}

fn does_not_open(row: &SealedRow) -> AdminError {
    let parts = [&row.purpose, &row.service, &row.name].map(|part| part.escape_debug().to_string());
    AdminError::SealedValue(parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" "))
}
