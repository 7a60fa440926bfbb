//! The approval digest (contract §5): what people decide on. It covers the call and everything else that would make it
//! a different one: the rule that holds it, the credentials it gets, the tool as it was defined.

use sha2::{Digest as _, Sha256};

use crate::{names::CredentialName, policy::RuleName};

/// SHA-256 over `toolgate-approval-1`, and then, each preceded by its length (64 bits, big endian): the call digest,
/// the rule's name, the credentials by name (each its name preceded by its length, and its version as 64 bits, big
/// endian), and the tool's definition hash, or nothing where none is known.
#[must_use]
pub fn approval_digest(
    call_digest: &[u8; 32],
    rule: &RuleName,
    credentials: &[(CredentialName, u64)],
    tool_definition: Option<&[u8; 32]>,
) -> [u8; 32] {
    let mut sorted: Vec<&(CredentialName, u64)> = credentials.iter().collect();
    sorted.sort();
    let mut versions = Vec::with_capacity(sorted.len() * 32);
    for (name, version) in sorted {
        versions.extend_from_slice(&length(name.as_str().as_bytes()));
        versions.extend_from_slice(name.as_str().as_bytes());
        versions.extend_from_slice(&version.to_be_bytes());
    }
    let definition = tool_definition.map_or(&[] as &[u8], |hash| hash);
    let mut hash = Sha256::new();
    hash.update(b"toolgate-approval-1");
    for part in [call_digest as &[u8], rule.as_str().as_bytes(), &versions, definition] {
        hash.update(length(part));
        hash.update(part);
    }
    hash.finalize().into()
}

fn length(part: &[u8]) -> [u8; 8] {
    (part.len() as u64).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::audit::push_hex;

    fn credential(name: &str, version: u64) -> (CredentialName, u64) {
        (CredentialName::parse(name).unwrap(), version)
    }

    #[test]
    fn a_digest_is_the_one_that_others_compute() {
        // Computed with Python's hashlib after the words above.
        let digest = approval_digest(
            &[1; 32],
            &RuleName::new("big refunds"),
            &[credential("secret_key", 3), credential("a", 1)],
            Some(&[2; 32]),
        );
        let mut hex = String::new();
        push_hex(&mut hex, &digest);
        assert_eq!(hex, "a41e1068e206132bdd1498e88f77a85dcf58400fe782ac171c145b6d64cd8ac2");
    }

    #[test]
    fn whatever_differs_makes_another_digest() {
        let (rule, other) = (RuleName::new("big refunds"), RuleName::new("big refund"));
        let (a, ab) = ([credential("a", 1)], [credential("a", 1), credential("b", 1)]);
        let newer = [credential("a", 2)];
        let shifted = [credential("s", 1)];
        let digests = [
            approval_digest(&[1; 32], &rule, &[], None),
            approval_digest(&[2; 32], &rule, &[], None),
            approval_digest(&[1; 32], &other, &[], None),
            approval_digest(&[1; 32], &rule, &a, None),
            approval_digest(&[1; 32], &rule, &ab, None),
            approval_digest(&[1; 32], &rule, &newer, None),
            approval_digest(&[1; 32], &other, &shifted, None),
            approval_digest(&[1; 32], &rule, &[], Some(&[0; 32])),
            approval_digest(&[1; 32], &rule, &[], Some(&[1; 32])),
        ];
        assert_eq!(HashSet::from(digests).len(), digests.len());
        let backwards = [credential("b", 1), credential("a", 1)];
        assert_eq!(
            approval_digest(&[1; 32], &rule, &ab, None),
            approval_digest(&[1; 32], &rule, &backwards, None),
            "credentials have no order"
        );
    }
}
