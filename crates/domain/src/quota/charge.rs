//! What a call is charged to: which buckets, under which quotas. To be asked only about calls that the policy allows,
//! so that refused names never take up room.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    net::{IpAddr, Ipv6Addr},
};

use smallvec::{SmallVec, smallvec};
use wire::mcp::Class;

use super::Quota;
use crate::{
    call::{Action, Call},
    key::KeyId,
    policy::Policy,
};

/// What the limit on failing authentication is called in the `RateLimit` headers.
pub const FAILED_AUTHENTICATION_NAME: &str = "failed_authentication";
/// How often one source may fail to authenticate.
pub const FAILED_AUTHENTICATION: Quota = Quota::per_minute(20);

/// All that one call is charged to; checked and committed together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charges {
    /// Whose buckets they are.
    pub owner: Owner,
    /// One or more.
    pub list: SmallVec<[Charge; 3]>,
}

/// Whose buckets they are. All buckets of one owner are kept together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owner {
    /// A key.
    Key(KeyId),
    /// An address that requests come from: IPv6 by /64, which is what one network gets.
    Source(IpAddr),
}

/// One bucket of the owner, and the quota it is under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Charge {
    /// Which bucket.
    pub bucket: Bucket,
    /// Its quota. A part of the bucket's identity: a limit that was changed starts full.
    pub quota: Quota,
}

/// Which of its owner's buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bucket {
    /// All calls of the key.
    Key,
    /// Calls of one tool, prompt or resource, by a hash of service, kind and name. Two names with one hash would
    /// share a bucket: stricter, and only for the agent that went looking for them.
    Tool(u64),
    /// All calls of the key that an override matches, by its place in the policy.
    Override(u16),
    /// Lists, notifications and the like.
    Housekeeping,
    /// Calls that were refused.
    Refusals,
    /// Requests without a good key.
    FailedAuthentication,
}

/// What an allowed call is charged to: the key's limit and the tool's for a call, else the housekeeping limit.
///
/// Where overrides match they stand in place of `per_tool`; all that match apply, so the strictest decides.
/// An override is one bucket for all that it matches.
#[must_use]
pub fn charges(policy: &Policy, key: KeyId, call: &Call) -> Charges {
    let (owner, limits) = (Owner::Key(key), policy.limits());
    if call.class == Class::Housekeeping {
        return Charges::one(owner, Bucket::Housekeeping, limits.housekeeping);
    }
    let mut list = smallvec![Charge { bucket: Bucket::Key, quota: limits.per_key }];
    for (place, special) in (0..).zip(&limits.overrides) {
        if special.matches(&call.service, &call.action) {
            list.push(Charge { bucket: Bucket::Override(place), quota: special.quota });
        }
    }
    if list.len() == 1 {
        list.push(Charge { bucket: Bucket::Tool(tool_hash(call)), quota: limits.per_tool });
    }
    Charges { owner, list }
}

/// What a refused call of this key is charged to.
#[must_use]
pub fn refusal_charge(policy: &Policy, key: KeyId) -> Charges {
    Charges::one(Owner::Key(key), Bucket::Refusals, policy.limits().refusals)
}

/// What a request without a good key is charged to.
#[must_use]
pub fn failed_authentication(source: IpAddr) -> Charges {
    Charges::one(Owner::source(source), Bucket::FailedAuthentication, FAILED_AUTHENTICATION)
}

impl Charges {
    fn one(owner: Owner, bucket: Bucket, quota: Quota) -> Self {
        Self { owner, list: smallvec![Charge { bucket, quota }] }
    }
}

impl Owner {
    /// The owner that stands for an address: IPv4 in IPv6 is IPv4, other IPv6 is cut to its /64.
    #[must_use]
    pub fn source(address: IpAddr) -> Self {
        Self::Source(match address.to_canonical() {
            IpAddr::V6(six) => Ipv6Addr::from_bits(six.to_bits() & (u128::MAX << 64)).into(),
            four @ IpAddr::V4(_) => four,
        })
    }
}

impl Charge {
    /// The limit's name in the `RateLimit` headers.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.bucket {
            Bucket::Key => "per_key",
            Bucket::Tool(_) => "per_tool",
            Bucket::Override(_) => "override",
            Bucket::Housekeeping => "housekeeping",
            Bucket::Refusals => "refusals",
            Bucket::FailedAuthentication => FAILED_AUTHENTICATION_NAME,
        }
    }

    /// What it limits, as the start of "… is limited to 20/1m for this key".
    #[must_use]
    pub fn what(&self, policy: &Policy, call: &Call) -> String {
        match self.bucket {
            Bucket::Key => "everything".to_owned(),
            Bucket::Tool(_) => {
                let tool = match &call.action {
                    Action::Request(_) => &call.method,
                    _ => call.action_text(),
                };
                format!("`{tool}` on `{}`", call.service)
            }
            Bucket::Override(place) => {
                let patterns = policy.limits().overrides.get(usize::from(place)).map(ToString::to_string);
                format!("{} on `{}`", patterns.unwrap_or_default(), call.service)
            }
            Bucket::Housekeeping => "everything besides calls (lists, notifications)".to_owned(),
            Bucket::Refusals => "asking for what is refused".to_owned(),
            Bucket::FailedAuthentication => "authentication that fails from this address".to_owned(),
        }
    }
}

fn tool_hash(call: &Call) -> u64 {
    let mut hasher = DefaultHasher::new();
    call.service.hash(&mut hasher);
    match &call.action {
        Action::Tool(name) => (0u8, name).hash(&mut hasher),
        Action::Prompt(name) => (1u8, name).hash(&mut hasher),
        Action::Resource(uri) => (2u8, uri).hash(&mut hasher),
        // Paths hold ids: a bucket for each would be no limit. An HTTP service's tools are its methods.
        Action::Request(_) => (4u8, &call.method).hash(&mut hasher),
        Action::Resources(_) | Action::List(_) | Action::Service | Action::Unknown => {
            (3u8, &call.method).hash(&mut hasher)
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{names::CallId, policy};

    const POLICY: &str = concat!(
        "version: 1\n",
        "limits:\n",
        "  per_key: 50/1m\n",
        "  overrides:\n",
        "    - { service: files, tools: [\"write_*\"], limit: 5/1m }\n",
        "    - { service: \"*\", tools: [\"write_all\"], limit: 1/1h }\n",
    );

    fn call(class: Class, action: Action) -> Call {
        Call { id: CallId::new(0, 0), service: "files".into(), method: "tools/call".into(), action, class }
    }

    fn charged(action: Action, class: Class) -> Vec<(&'static str, String)> {
        let (policy, _) = policy::parse("policy.yaml", POLICY).unwrap();
        let key = KeyId::parse("7kq2m9xd").unwrap();
        let charges = charges(&policy, key, &call(class, action));
        charges.list.iter().map(|charge| (charge.name(), charge.quota.to_string())).collect()
    }

    #[test]
    fn a_call_counts_for_its_key_and_its_tool() {
        let charged = charged(Action::Tool("read".into()), Class::Call);
        assert_eq!(charged, [("per_key", "50/1m".to_owned()), ("per_tool", "20/1m".to_owned())]);
    }

    #[test]
    fn all_overrides_that_match_take_the_place_of_per_tool() {
        let one = charged(Action::Tool("write_file".into()), Class::Call);
        assert_eq!(one, [("per_key", "50/1m".to_owned()), ("override", "5/1m".to_owned())]);
        let two = charged(Action::Tool("write_all".into()), Class::Call);
        assert_eq!(two.len(), 3);
        assert_eq!(charged(Action::Prompt("write_file".into()), Class::Call)[1].0, "per_tool");
    }

    #[test]
    fn housekeeping_counts_only_as_housekeeping() {
        assert_eq!(charged(Action::Service, Class::Housekeeping), [("housekeeping", "600/1m".to_owned())]);
    }

    #[test]
    fn a_tool_and_a_prompt_of_one_name_have_two_buckets() {
        let hash = |action| tool_hash(&call(Class::Call, action));
        assert_ne!(hash(Action::Tool("x".into())), hash(Action::Prompt("x".into())));
        assert_eq!(hash(Action::Tool("x".into())), hash(Action::Tool("x".into())));
    }

    #[test]
    fn one_network_is_one_source() {
        let source = |text: &str| Owner::source(text.parse().unwrap());
        assert_eq!(source("2001:db8:1:2::1"), source("2001:db8:1:2:ffff::9"));
        assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
    }
}
