//! The judge against a naive one: every small policy in every order, and random large ones.

use wire::{Limits, json};

use super::*;
use crate::{agent::Agent, policy::fixture::NOON, risk::RiskScore};

/// One rule of a policy that is made up.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Drawn {
    list: List,
    pattern: &'static str,
    condition: Condition,
    risk: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum List {
    Allow,
    Approve,
    Deny,
    ApproveAll,
    DenyAll,
}

/// Over `args.v`, which is 1, 2 or not there.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Condition {
    None,
    IsOne,
    IsTwo,
    OfAnother,
}

use Condition::{IsOne, IsTwo, OfAnother};
use List::{Allow, Approve, ApproveAll, Deny, DenyAll};

const LISTS: [List; 5] = [Allow, Approve, Deny, ApproveAll, DenyAll];
const CONDITIONS: [Condition; 4] = [Condition::None, IsOne, IsTwo, OfAnother];
const ALL_ARGS: [&str; 3] = [r#"{"v":1}"#, r#"{"v":2}"#, "{}"];

impl Drawn {
    fn asks(self) -> bool {
        matches!(self.list, Approve | ApproveAll)
    }

    fn denies(self) -> bool {
        matches!(self.list, Deny | DenyAll)
    }

    /// Each condition has a number of its own, so that the highest tells which rules were seen.
    fn quorum(self) -> u8 {
        CONDITIONS.iter().position(|condition| *condition == self.condition).unwrap() as u8 + 1
    }

    /// Whether the condition is true; none where it has no answer.
    fn truth(self, args: &str) -> Option<bool> {
        match self.condition {
            Condition::None => Some(true),
            OfAnother => None,
            _ if args == "{}" => None,
            IsOne => Some(args.contains('1')),
            IsTwo => Some(args.contains('2')),
        }
    }

    fn written(self) -> String {
        let when = match self.condition {
            Condition::None => "",
            IsOne => ", when: args.v == 1",
            IsTwo => ", when: args.v == 2",
            OfAnother => ", when: args.w == 1",
        };
        let risk = if self.denies() { "" } else { self.risk };
        let approvals = if self.asks() { format!(", approvals: {}", self.quorum()) } else { String::new() };
        format!("{{service: files, tools: [{:?}]{when}{risk}{approvals}}}", self.pattern)
    }
}

/// What is said to a call, without names.
#[derive(Debug, Clone, PartialEq)]
enum Said {
    Allow(RuleRisk),
    Ask(u8, RuleRisk),
    Never,
    Depends,
}

fn said(verdict: &Verdict) -> Said {
    match verdict {
        Verdict::Allow { risk, .. } => Said::Allow(*risk),
        Verdict::Ask(wants) => Said::Ask(wants.quorum.get(), wants.risk),
        Verdict::Never(_) => Said::Never,
        Verdict::Depends => Said::Depends,
    }
}

/// The contract, read aloud: deny beats approve beats allow; silence means no; an error counts against the caller;
/// an `approve` for every role grants nothing.
fn naive(rules: &[Drawn], name: &str, args: &str) -> Said {
    let matching: Vec<_> =
        rules.iter().copied().filter(|rule| Pattern::new(rule.pattern).matches(name)).collect();
    let against = |rule: &&Drawn| rule.truth(args) != Some(false);
    let allows: Vec<_> =
        matching.iter().filter(|rule| rule.list == Allow && rule.truth(args) == Some(true)).collect();
    let asks: Vec<_> = matching.iter().filter(|rule| rule.asks()).filter(against).collect();
    let granted = !allows.is_empty() || asks.iter().any(|rule| rule.list == Approve);
    if !granted || matching.iter().filter(|rule| rule.denies()).any(|rule| against(&rule)) {
        return Said::Never;
    }
    let floor_of = |rule: &Drawn| {
        let floors = [(", risk: 0.2", 200), (", risk: 0.7", 700)];
        floors
            .iter()
            .find(|(text, _)| *text == rule.risk)
            .map(|(_, floor)| RiskScore::from_thousandths(*floor))
    };
    let floor = matching.iter().filter(|rule| !rule.denies()).filter(against).filter_map(floor_of).max();
    // Where a rule without a condition allows, those with one have no say in `read` and `ignore`.
    let sure: Vec<_> = allows.iter().filter(|rule| rule.condition == Condition::None).collect();
    let allows = if sure.is_empty() { allows.iter().collect() } else { sure };
    let ignores = |rule: &Drawn| rule.risk.contains("ignore");
    let risk = RuleRisk {
        floor,
        read: !allows.is_empty() && allows.iter().all(|rule| rule.risk.contains("read")),
        ignore: floor.is_none()
            && allows.iter().all(|rule| ignores(rule))
            && asks.iter().all(|rule| ignores(rule)),
    };
    match asks.iter().map(|rule| rule.quorum()).max() {
        Some(quorum) => Said::Ask(quorum, risk),
        None => Said::Allow(risk),
    }
}

/// A file with the lists, and the rules in them, in the order in which the rules come.
fn written(rules: &[Drawn]) -> String {
    let list = |list: List| {
        let items: Vec<_> =
            rules.iter().filter(|rule| rule.list == list).map(|rule| rule.written()).collect();
        format!("[{}]", items.join(", "))
    };
    let mut lists = Vec::new();
    for rule in rules {
        if !lists.contains(&rule.list) {
            lists.push(rule.list);
        }
    }
    let key = |list: List| match list {
        Allow => "allow",
        Approve | ApproveAll => "approve",
        Deny | DenyAll => "deny",
    };
    let (of_role, of_all): (Vec<_>, Vec<_>) =
        lists.into_iter().partition(|list| matches!(list, Allow | Approve | Deny));
    let of_role: Vec<_> = of_role.into_iter().map(|name| format!("{}: {}", key(name), list(name))).collect();
    let of_all: String = of_all.into_iter().map(|name| format!("{}: {}\n", key(name), list(name))).collect();
    let roles = format!("roles: {{ user: {{ {} }} }}\n", of_role.join(", "));
    match rules.first().map(|rule| rule.list) {
        Some(ApproveAll | DenyAll) => format!("version: 1\n{of_all}{roles}"),
        _ => format!("version: 1\n{roles}{of_all}"),
    }
}

/// Compares all that the judge says of a policy with what the naive one says.
fn compare(rules: &[Drawn], name: &str) {
    let text = written(rules);
    let (world, agent): (_, Agent) = (world(&text, &["files"]), agent("user", &["files"]));
    let action = tool(name);
    let open = judge(&world, &agent, "files", &action, Args::Unknown);
    let mut may_pass = false;
    for args in ALL_ARGS {
        let read = json::read(args.as_bytes(), &Limits::of_bytes(64)).unwrap();
        let facts =
            Facts::new(&agent, "files", "tools/call", &action, NOON.parse().unwrap()).with_args(Ok(read));
        let known = judge(&world, &agent, "files", &action, Args::Known(&facts));
        assert_eq!(said(&known), naive(rules, name, args), "{args} against {text}");
        may_pass |= said(&known) != Said::Never;
        // What is said without the arguments holds with them.
        match (&open, &known) {
            (Verdict::Depends, _) => {}
            (Verdict::Ask(open), Verdict::Ask(known)) => {
                assert_eq!(
                    (open, &open.because, &open.failure),
                    (known, &None, &None),
                    "{args} against {text}"
                );
            }
            (Verdict::Never(_), Verdict::Never(_)) => {}
            (open, known) => assert_eq!(open, known, "{args} against {text}"),
        }
    }
    // A list hides only what never passes.
    let rights = Rights::of(&world, &agent, "files").unwrap();
    let listed = rights.may_list(ListKind::Tools, name);
    assert_eq!(listed, !matches!(open, Verdict::Never(_)), "{text}");
    assert!(listed || !may_pass, "{text}");
    // Nothing is asked of arguments that no condition reads, and whatever can be held says so.
    assert!(open != Verdict::Depends || rights.needs_args(&action), "{text}");
    let asked = |args| matches!(naive(rules, name, args), Said::Ask(..));
    assert!(rights.may_hold(None, false) || !ALL_ARGS.into_iter().any(asked), "{text}");
}

/// Every order of the rules.
fn orders(rules: &[Drawn]) -> Vec<Vec<Drawn>> {
    if rules.len() < 2 {
        return vec![rules.to_vec()];
    }
    let first = |at: usize| {
        let mut rest = rules.to_vec();
        let first = rest.remove(at);
        orders(&rest).into_iter().map(move |rest| [vec![first], rest].concat())
    };
    (0..rules.len()).flat_map(first).collect()
}

#[test]
fn deny_beats_approve_beats_allow_in_every_order() {
    let kinds: Vec<Drawn> = LISTS
        .into_iter()
        .flat_map(|list| CONDITIONS.map(|condition| Drawn { list, pattern: "a*", condition, risk: "" }))
        .collect();
    let mut policies = 0;
    for one in 0..kinds.len() {
        for two in one..kinds.len() {
            for three in two..kinds.len() {
                // One or two rules where a kind comes again.
                let mut rules = vec![kinds[one], kinds[two], kinds[three]];
                rules.dedup();
                for rules in orders(&rules) {
                    compare(&rules, "ab");
                    policies += 1;
                }
            }
        }
    }
    // Of 20 kinds: the sets of three in six orders, those of two (each comes about twice) in two, those of one.
    assert_eq!(policies, 1_140 * 6 + 190 * 2 * 2 + 20);
}

fn rules() -> impl Strategy<Value = Vec<Drawn>> {
    let risks = ["", ", risk: 0.2", ", risk: 0.7", ", risk: ignore"];
    let patterns = ["a", "b", "a*", "*b", "*", "ab", "**"];
    let rule = (0..5_usize, 0..patterns.len(), 0..4_usize, 0..4_usize, proptest::bool::ANY);
    let rule = rule.prop_map(move |(list, pattern, condition, risk, read)| {
        let list = LISTS[list];
        let risk = match (risks[risk], read && list == Allow) {
            (risk, false) => risk,
            ("", true) => ", read: true",
            (", risk: ignore", true) => ", risk: ignore, read: true",
            (risk, true) => risk,
        };
        Drawn { list, pattern: patterns[pattern], condition: CONDITIONS[condition], risk }
    });
    proptest::collection::vec(rule, 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn the_judge_agrees_with_a_naive_one(rules in rules(), name in "[ab]{1,3}") {
        compare(&rules, &name);
    }
}
