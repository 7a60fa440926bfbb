//! Conditions of the policy: no text and no arguments make them panic, hang or change their mind, and every fault
//! stands at a place of the text.
#![no_main]

use domain::{
    agent::{Agent, AgentState},
    call::Action,
    names::{AgentName, RoleName},
    policy::{Condition, Facts, Unusable},
};
use libfuzzer_sys::fuzz_target;
use wire::{Limits, form, json};

fuzz_target!(|input: (&str, &str, &str)| {
    let (when, args, query) = input;
    let condition = match Condition::parse(when) {
        Ok(condition) => condition,
        Err(fault) => {
            assert!(when.get(fault.range()).is_some() && !fault.message().is_empty());
            return;
        }
    };
    let agent = Agent {
        name: AgentName::parse("laptop").expect("a name"),
        role: RoleName::parse("user").expect("a role"),
        scope: [].into(),
        state: AgentState::Active,
        created_at: jiff::Timestamp::UNIX_EPOCH,
    };
    let action = Action::Tool("t".to_owned());
    let args = json::read(args.as_bytes(), &Limits::of_bytes(1 << 20)).map_err(|_| Unusable::Unreadable);
    let facts = Facts::new(&agent, "service", "tools/call", &action, jiff::Timestamp::UNIX_EPOCH)
        .with_args(args)
        .with_query(form::pairs(query).ok_or(Unusable::Unreadable));
    assert_eq!(condition.holds(&facts), condition.holds(&facts));
    let _ = condition.decided_by(&facts);
});
