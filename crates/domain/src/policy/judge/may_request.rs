//! Whether an agent can make any request to an HTTP service: only then is it shown how to make one.

use super::Rights;
use crate::policy::rule::Target;

impl Rights<'_> {
    /// Whether a request of this agent to this service can be allowed, be it after approval: hidden from its lists is
    /// what no rule that grants reaches, or what one deny rule reaches whole.
    ///
    /// `false` can be relied on. `true` also where several denies, or a condition that never holds, are in the way.
    #[must_use]
    pub fn may_request(&self) -> bool {
        let target = Target::Request;
        let mut grants = [self.allow, self.role_approve]
            .into_iter()
            .flat_map(|rules| rules.patterns(target).chain(rules.conditional_patterns(target)));
        grants.any(|grant| {
            let mut denies = self.deny.patterns(target).chain(self.role_deny.patterns(target));
            !denies.any(|deny| deny.covers(&grant))
        })
    }
}
