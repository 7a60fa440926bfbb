//! Sealed values open where they belong, and nowhere else, whatever became of the ring meanwhile.

use proptest::prelude::*;

use super::*;
use crate::Purpose;

const INSTALL: [u8; 16] = [5; 16];

fn root(byte: u8) -> RootKey {
    RootKey::from_bytes([byte; 32])
}

fn label(name: &str) -> Label<'_> {
    Label {
        purpose: Purpose::Credential,
        service: "billing",
        origin: "https://api.example.com:443",
        name,
        version: 1,
    }
}

fn opened(vault: &Vault, label: &Label<'_>, sealed: &[u8]) -> Option<Vec<u8>> {
    vault.open_sealed(label, sealed).ok().map(|secret| secret.reveal().to_vec())
}

#[test]
fn a_value_opens_under_its_own_label_and_install_only() {
    let (vault, first) = Vault::birth(&root(1), INSTALL);
    let mine = label("key");
    let sealed = vault.seal(&mine, b"value");
    assert_eq!(opened(&vault, &mine, &sealed).unwrap(), b"value");
    let mut others = vec![
        Label { service: "billin", name: "gkey", ..mine },
        Label { service: "other", ..mine },
        Label { origin: "https://api.example.com:444", ..mine },
        Label { origin: "", ..mine },
        Label { name: "key2", ..mine },
        Label { version: 2, ..mine },
        Label { version: 0, ..mine },
    ];
    others.extend(
        Purpose::ALL
            .iter()
            .filter(|other| **other != mine.purpose)
            .map(|other| Label { purpose: *other, ..mine }),
    );
    for other in others {
        assert!(opened(&vault, &other, &sealed).is_none(), "{other:?}");
        assert!(vault.rewrap(&other, &sealed).is_ok_and(|same| same.is_none()), "nothing to do");
    }
    assert!(Vault::open(&root(1), [6; 16], std::slice::from_ref(&first)).is_err(), "another install");
    let (elsewhere, _) = Vault::birth(&root(1), INSTALL);
    assert!(opened(&elsewhere, &mine, &sealed).is_none(), "another ring");
}

#[test]
fn values_cannot_change_places() {
    let (vault, _) = Vault::birth(&root(1), INSTALL);
    let labels = ["one", "two", "three"].map(label);
    let mut places = labels.to_vec();
    places.push(Label { version: 2, ..labels[0] });
    places.push(Label { service: "shipping", ..labels[0] });
    places.push(Label { purpose: Purpose::StoredAnswer, ..labels[0] });
    let sealed: Vec<_> = places.iter().map(|place| vault.seal(place, b"the same text")).collect();
    for (from, value) in sealed.iter().enumerate() {
        for (to, place) in places.iter().enumerate() {
            assert_eq!(opened(&vault, place, value).is_some(), from == to, "{from} at {to}");
        }
    }
    // Nor can the layers of two values of one label.
    let (one, two) = (vault.seal(&labels[0], b"old"), vault.seal(&labels[0], b"new"));
    let mixed = [&one[..HEAD + WRAPPED], &two[HEAD + WRAPPED..]].concat();
    assert!(opened(&vault, &labels[0], &mixed).is_none());
}

#[test]
fn no_flipped_bit_and_no_cut_opens() {
    let (vault, first) = Vault::birth(&root(1), INSTALL);
    let sealed = vault.seal(&label("key"), b"a value of some length");
    for at in 0..sealed.len() {
        for bit in 0..8 {
            let mut altered = sealed.clone();
            altered[at] ^= 1 << bit;
            assert!(opened(&vault, &label("key"), &altered).is_none(), "bit {bit} of byte {at}");
        }
        assert!(opened(&vault, &label("key"), &sealed[..at]).is_none(), "cut at {at}");
    }
    assert!(opened(&vault, &label("key"), &[&sealed[..], &[0]].concat()).is_none());
    for at in 0..first.wrapped.len() {
        let mut altered = first.clone();
        altered.wrapped[at] ^= 1;
        assert!(Vault::open(&root(1), INSTALL, &[altered]).is_err(), "byte {at} of the ring");
    }
}

#[test]
fn the_ring_opens_with_its_root_key_only_and_with_an_active_term() {
    let (vault, first) = Vault::birth(&root(1), INSTALL);
    assert!(Vault::open(&root(1), INSTALL, std::slice::from_ref(&first)).is_ok());
    assert!(Vault::open(&root(2), INSTALL, std::slice::from_ref(&first)).is_err());
    assert!(Vault::open(&root(1), INSTALL, &[]).is_err());
    assert!(Vault::open(&root(1), INSTALL, &[RingKey { active: false, ..first.clone() }]).is_err());
    assert!(Vault::open(&root(1), INSTALL, &[RingKey { term: 2, ..first.clone() }]).is_err(), "another term");
    let second = vault.next_term(std::slice::from_ref(&first)).unwrap();
    let swapped = [
        RingKey { wrapped: second.wrapped.clone(), ..first.clone() },
        RingKey { wrapped: first.wrapped.clone(), ..second },
    ];
    assert!(Vault::open(&root(1), INSTALL, &swapped).is_err());
}

#[test]
fn a_new_term_seals_and_the_old_ones_still_open() {
    let (vault, first) = Vault::birth(&root(1), INSTALL);
    let old = vault.seal(&label("key"), b"value");
    let mut second = vault.next_term(std::slice::from_ref(&first)).unwrap();
    assert_eq!((second.term, vault.active_term()), (2, 1), "not adopted yet");
    vault.adopt(&[first.clone(), second.clone()]).unwrap();
    assert_eq!(vault.active_term(), 2);
    let new = vault.rewrap(&label("key"), &old).unwrap().unwrap();
    assert!(vault.rewrap(&label("key"), &new).unwrap().is_none());
    assert_eq!(new[HEAD + WRAPPED..], old[HEAD + WRAPPED..], "the value itself is not sealed again");
    for sealed in [&old, &new] {
        assert_eq!(opened(&vault, &label("key"), sealed).unwrap(), b"value");
    }
    assert!(vault.rewrap(&label("other"), &old).is_err());
    second.active = false;
    vault.adopt(&[first.clone(), second.clone()]).unwrap();
    assert_eq!(vault.active_term(), 1);
    assert!(vault.adopt(&[]).is_err());
    assert_eq!(opened(&vault, &label("key"), &new).unwrap(), b"value", "what was known stays");
    let alone = Vault::open(&root(1), INSTALL, &[first]).unwrap();
    assert!(opened(&alone, &label("key"), &new).is_none(), "its term is unknown there");
    assert!(alone.lacks_term_of(&new) && !alone.lacks_term_of(&old) && !vault.lacks_term_of(&new));
    assert!(!alone.lacks_term_of(b"no sealed value"), "it opens nowhere");
}

#[test]
fn another_root_key_takes_over_the_ring_and_no_value() {
    let (vault, first) = Vault::birth(&root(1), INSTALL);
    let sealed = vault.seal(&label("key"), b"value");
    let rows = vault.rewrap_ring(std::slice::from_ref(&first), &root(2)).unwrap();
    assert!(Vault::open(&root(1), INSTALL, &rows).is_err());
    let after = Vault::open(&root(2), INSTALL, &rows).unwrap();
    assert_eq!(opened(&after, &label("key"), &sealed).unwrap(), b"value");
    vault.adopt(&rows).unwrap();
    assert_eq!(opened(&vault, &label("key"), &sealed).unwrap(), b"value", "a running gateway goes on");
    assert!(vault.next_term(&rows).is_err(), "but makes no term that the new root key could not open");
    let next = after.next_term(&rows).unwrap();
    let rows = [rows, vec![next]].concat();
    assert!(vault.adopt(&rows).is_err(), "a term under a root key that is not at hand");
    assert_eq!(vault.active_term(), 1);
    assert!(vault.rewrap_ring(&rows, &root(3)).is_err());
}

#[test]
fn a_replaced_key_file_is_read_again_when_a_term_needs_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault.key");
    let (vault, first) = Vault::birth(&RootKey::create(&path).unwrap(), INSTALL);
    let vault = vault.with_key_file(&path);
    let sealed = vault.seal(&label("key"), b"value");
    let next = crate::KeyLock::take(&path).unwrap().write_next().unwrap();
    let rows = vault.rewrap_ring(&[first], next.key()).unwrap();
    next.take_its_place().unwrap();
    let after = Vault::open(&RootKey::load(&path).unwrap(), INSTALL, &rows).unwrap();
    let next = after.next_term(&rows).unwrap();
    let rows = [rows, vec![next]].concat();
    vault.adopt(&rows).unwrap();
    assert_eq!(vault.active_term(), 2);
    assert_eq!(opened(&vault, &label("key"), &sealed).unwrap(), b"value");
}

#[test]
fn the_format_stays_readable() {
    // Made with Python's `cryptography`: see the layout above. Root key 32 × 0x07, term key 32 × 0x08, key of the
    // value 32 × 0x09, nonces 12 × 0x0a, 0x0b and 0x0c.
    let ring = RingKey {
        term: 3,
        active: true,
        wrapped: hex(
            "010a0a0a0a0a0a0a0a0a0a0a0a8cc154bbaef773db532458775196d9a3732c36919f14a8f1e283d376d09aa811\
         8f45f2d3fbc52b33b19cafef72cf7359",
        ),
    };
    let vault = Vault::open(&root(7), INSTALL, &[ring]).unwrap();
    let sealed =
        hex("01000000030b0b0b0b0b0b0b0b0b0b0b0b3aff91d8b26ba0665b431cd16ab526e91ceb1c13d0e141af8d32a784\
         168bb471ee4eb84db5c8727304a3b36ae132a3d60c0c0c0c0c0c0c0c0c0c0c0ceb60620f5135db9afcabc8f8ef\
         de546d88b8c0808ff3decb328b744d52eb");
    assert_eq!(opened(&vault, &label("secret_key"), &sealed).unwrap(), b"kept for years");
}

fn hex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

proptest! {
    #[test]
    fn every_value_opens_as_it_was(plain in proptest::collection::vec(any::<u8>(), 0..2048), name in "\\PC{0,40}") {
        let (vault, _) = Vault::birth(&root(3), INSTALL);
        let sealed = vault.seal(&label(&name), &plain);
        prop_assert_eq!(sealed.len(), HEAD + WRAPPED + NONCE + plain.len() + TAG);
        prop_assert_eq!(opened(&vault, &label(&name), &sealed).unwrap(), plain);
    }

    #[test]
    fn what_is_no_sealed_value_never_opens(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let (vault, first) = Vault::birth(&root(3), INSTALL);
        prop_assert!(vault.open_sealed(&label("key"), &bytes).is_err());
        prop_assert!(vault.rewrap(&label("key"), &bytes).map_or(true, |same| same.is_none()));
        let row = RingKey { wrapped: bytes, ..first };
        prop_assert!(Vault::open(&root(3), INSTALL, &[row]).is_err());
    }
}
