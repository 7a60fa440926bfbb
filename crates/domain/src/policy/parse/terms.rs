//! Reads what a rule says about risk, and what its approval takes.

use std::{num::NonZeroU8, time::Duration};

use super::{
    super::{RuleRisk, rule::Terms},
    Member, Reader, find,
};
use crate::{
    risk::RiskScore,
    yaml::{Node, Value},
};

impl Reader<'_> {
    /// `risk:` and `read:`.
    pub(super) fn read_risk(&mut self, members: &[&Member]) -> RuleRisk {
        let mut said = RuleRisk::default();
        if let Some(node) = find(members, "read") {
            match node.as_bool() {
                Some(read) => said.read = read,
                None => self.wrong(node, "`read`", "true or false"),
            }
        }
        let Some(node) = find(members, "risk") else { return said };
        match &node.value {
            Value::Scalar { text, .. } if text == "ignore" => said.ignore = true,
            Value::Scalar { text, plain: true } if !node.is_null() => match RiskScore::parse(text) {
                Some(floor) => said.floor = Some(floor),
                None => {
                    let text: String = text.chars().take(64).flat_map(char::escape_debug).collect();
                    let form = "write a number from 0 to 1 with at most three decimals, or `ignore`";
                    self.error(node.place, format!("`{text}` is no risk; {form}"));
                }
            },
            _ => self.wrong(node, "`risk`", "a number from 0 to 1, or `ignore`"),
        }
        said
    }

    /// `approvals:`, `decide_within:` and `execute_within:`.
    pub(super) fn read_terms(&mut self, members: &[&Member]) -> Terms {
        let mut terms = Terms::default();
        if let Some(node) = find(members, "approvals") {
            terms.quorum = self.read_quorum(node).unwrap_or(terms.quorum);
        }
        let mut time = |key: &str| find(members, key).and_then(|node| self.read_time(key, node));
        terms.decide_within = time("decide_within");
        terms.execute_within = time("execute_within");
        terms
    }

    fn read_quorum(&mut self, node: &Node) -> Option<NonZeroU8> {
        let number = node.as_number();
        let quorum = number.and_then(|number| u8::try_from(number).ok()).and_then(NonZeroU8::new);
        if quorum.is_none() {
            let operators = "`approvals` is how many operators must approve; write a number from 1 to 255";
            self.error(node.place, operators);
        }
        quorum
    }

    fn read_time(&mut self, key: &str, node: &Node) -> Option<Duration> {
        let time = node.as_duration();
        if time.is_none() {
            self.error(node.place, format!("`{key}` is a time from 1s to 366d; write for example `15m`"));
        }
        time
    }
}
