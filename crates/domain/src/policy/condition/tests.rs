//! What conditions mean, what is said about those that mean nothing, and that nothing else can happen.

mod against_cel;
mod faults;

use wire::{Limits, json};

use super::*;
use crate::{
    agent::Agent,
    call::Action,
    policy::fixture::{NOON, agent},
};

/// The answer of a condition to a tool call with these arguments; a failure as its sentence.
fn ask(when: &str, args: &str) -> Result<bool, String> {
    ask_with(when, args, |facts| facts)
}

fn ask_with(
    when: &str,
    args: &str,
    adapt: impl for<'a> FnOnce(Facts<'a>) -> Facts<'a>,
) -> Result<bool, String> {
    let condition = Condition::parse(when).unwrap_or_else(|fault| panic!("{when}: {}", fault.message()));
    with_facts(args, |facts| condition.holds(&adapt(facts.clone()))).map_err(|failure| failure.to_string())
}

fn with_facts<T>(args: &str, then: impl FnOnce(&Facts<'_>) -> T) -> T {
    let agent: Agent = agent("user", &["files"]);
    let action = Action::Tool("refund".into());
    let raw = json::read(args.as_bytes(), &Limits::of_bytes(args.len())).map_err(|_| Unusable::Unreadable);
    let facts = Facts::new(&agent, "billing", "tools/call", &action, NOON.parse().unwrap()).with_args(raw);
    then(&facts)
}

const ORDER: &str = r#"{"amount":5000,"rate":1.5,"to":"ada@example.com","tags":["a","b"],"big":18446744073709551615,
    "items":[{"price":10,"name":"x"},{"price":200,"name":"y"}],"note":null,"force":true,"a-b":{"in":1}}"#;

#[test]
fn conditions_ask_about_the_call() {
    for when in [
        "args.amount > 1000",
        "args.amount > 1000 && args.rate < 2.0",
        "args.amount == 5000.0 && args.amount >= 5000u && args.amount != '5000'",
        "args.big > 9223372036854775807 && args.big > 1e18",
        "args['amount'] == 5000 && args[\"a-b\"]['in'] == 1",
        "args.to.endsWith('@example.com') && args.to.startsWith(\"ada\") && args.to.contains('@')",
        "'a' in args.tags && !('c' in args.tags) && 'amount' in args",
        "args.tags == ['a', 'b'] && args.items[1] == {'name': 'y', 'price': 200.0}",
        "has(args.note) && args.note == null && !has(args.nothing)",
        "size(args.tags) == 2 && args.to.size() == 15 && size(args) == 9",
        "args.items.all(i, i.price < 1000) && args.items.exists(i, i.price > 100)",
        "args.items.exists_one(i, i.name == 'x')",
        "args.items.filter(i, i.price > 100).map(i, i.name) == ['y']",
        "args.items.map(i, args.tags.map(t, t + i.name)) == [['ax', 'bx'], ['ay', 'by']]",
        "args.force ? args.amount > 1 : false",
        "args.amount * 2 == 10000 && args.amount - 1 == 4999 && args.amount / 3 == 1666 && args.amount % 3 == 2",
        "double(args.amount) * args.rate == 7500.0 && int(args.rate) == 1 && string(args.amount) == '5000'",
        "-args.amount < 0 && -5 < 0 && -9223372036854775808 < 0",
        "call.service == 'billing' && call.method == 'tools/call' && call.tool == call.action",
        "!has(call.path) && agent.name == 'tester' && agent.role in ['user', 'admin']",
        "now < timestamp('2026-11-24T00:00:00Z') && now - duration('1h') < now",
        "now.getDayOfWeek() == 1 && now.getHours() == 12 && now.getHours('-05:00') == 7 && now.getMonth() == 10",
        "now.getDate() == 23 && now.getDayOfMonth() == 22 && now.getFullYear() == 2026 && now.getDayOfYear() == 326",
        "timestamp('2026-11-23T12:00:00Z') == now && (now - timestamp('2026-11-23T10:30:00Z')).getMinutes() == 90",
        "false || (true && !false) // and a remark",
        r#"'''it's''' + "\u00e4\x41\n\101" + r'\n' == "it's\u{e4}A\nA\\n""#,
    ] {
        let when = when.replace(r"\u{e4}", "ä");
        assert_eq!(ask(&when, ORDER), Ok(true), "{when}");
    }
}

#[test]
fn what_has_no_answer_is_an_error_and_tells_no_value() {
    for (when, failure) in [
        ("args.amout > 1000", "`args.amout` is missing"),
        ("args.to > 1000", "`args.to > 1000` compares a text with an int"),
        ("args.tags[2] == 'c'", "`args.tags[2]` is missing"),
        ("args.tags[-1] == 'c'", "`args.tags[-1]` is missing"),
        ("args.amount.x == 1", "`args.amount.x` asks for a field of an int"),
        ("args.amount", "`args.amount` must be true or false, but is an int"),
        (
            "args.amount * 9223372036854775807 > 0",
            "`args.amount * 9223372036854775807` leaves the range of its numbers",
        ),
        ("args.amount / 0 == 1", "`args.amount / 0` leaves the range of its numbers"),
        ("args.rate * 2 == 3.0", "`args.rate * 2` uses `*` on a double and an int"),
        ("args.items.all(i, i.cost > 1)", "`i.cost` is missing"),
        ("args.amount.all(i, i > 1)", "`args.amount.all(i, i > 1)` goes through an int, which is no list"),
        ("int(args.to) == 1", "`int(args.to)` cannot be used: it is no such number"),
        (
            "timestamp(args.to) == now",
            "`timestamp(args.to)` cannot be used: it is no time such as 2026-11-23T14:00:00Z",
        ),
        (
            "now.getHours(args.to) == 1",
            "`now.getHours(args.to)` cannot be used: a time zone is `UTC` or an offset such as `+02:00`",
        ),
        ("call.path == '/'", "`call.path` is missing"),
        ("query.a == ''", "`query` cannot be used: the call has none"),
        ("args.force in args.amount", "`args.force in args.amount` looks for true or false in an int"),
    ] {
        assert_eq!(ask(when, ORDER), Err(failure.to_owned()), "{when}");
    }
}

#[test]
fn a_number_that_does_not_fit_is_an_error_only_for_those_who_look_at_it() {
    let args = r#"{"a":1000.0000000000000001,"b":2,"c":[1,1e400]}"#;
    assert_eq!(ask("args.a > 1000.0", args), Err("`args.a` is a number that does not fit exactly".into()));
    assert_eq!(ask("args.b == 2 && has(args.a)", args), Ok(true));
    assert_eq!(ask("1 in args.c", args), Err("`1 in args.c` is a number that does not fit exactly".into()));
    assert_eq!(ask("size(args.c) == 2", args), Ok(true));
}

#[test]
fn and_and_or_are_decided_by_the_part_that_decides() {
    let missing = Err("`args.x` is missing".to_owned());
    for (when, answer) in [
        ("args.x == 1 || true", Ok(true)),
        ("true || args.x == 1", Ok(true)),
        ("args.x == 1 || false", missing.clone()),
        ("args.x == 1 && false", Ok(false)),
        ("false && args.x == 1", Ok(false)),
        ("args.x == 1 && true", missing.clone()),
        ("[1, 2].exists(i, i == 2 || args.x == 1)", Ok(true)),
        ("[1, 2].all(i, i == 2 && args.x == 1)", Ok(false)),
        ("[1, 2].exists(i, args.x == i)", missing.clone()),
        ("!has(args.x) || args.x == 1", Ok(true)),
        ("args.x == 1 ? true : true", missing),
    ] {
        assert_eq!(ask(when, "{}"), answer, "{when}");
    }
}

#[test]
fn arguments_may_be_anything_or_nothing() {
    assert_eq!(ask("args == [1, 'a']", "[1,\"a\"]"), Ok(true));
    assert_eq!(ask("args == null", "null"), Ok(true));
    assert_eq!(ask("args.a == 1", "[]"), Err("`args.a` asks for a field of a list".into()));
    assert_eq!(ask("has(args.a)", "7"), Err("`has(args.a)` asks for a field of an int".into()));
    let unusable = |why| ask_with("args.a == 1", "{}", move |facts| facts.with_args(Err(why))).unwrap_err();
    assert_eq!(unusable(Unusable::Missing), "`args` cannot be used: the call has none");
    assert_eq!(unusable(Unusable::Type), "`args` cannot be used: the body is neither JSON nor a form");
    let pairs = vec![("page".to_owned(), "2".to_owned())];
    assert_eq!(
        ask_with("query.page == '2' && !has(query.x) && size(query) == 1", "{}", move |facts| facts
            .with_query(Ok(pairs))),
        Ok(true)
    );
}

#[test]
fn work_is_bounded_whatever_the_arguments_are() {
    let list = |n: usize| format!("{{\"a\":[{}]}}", vec!["1"; n].join(","));
    assert_eq!(ask("args.a.all(i, i == 1)", &list(10_000)), Ok(true));
    let elements = "`args.a.all(i, i == 1)` has more than 10000 elements";
    assert_eq!(ask("args.a.all(i, i == 1)", &list(10_001)), Err(elements.into()));
    let squared = ask("args.a.all(i, args.a.all(j, i == j))", &list(5_000)).unwrap_err();
    assert!(squared.ends_with(" takes too much work on this call"), "{squared}");
    // Not even a part that would decide makes up for it.
    let squared = ask("args.a.all(i, args.a.all(j, i == j)) || true", &list(5_000)).unwrap_err();
    assert!(squared.ends_with(" takes too much work on this call"), "{squared}");
    let text = format!("{{\"a\":[{}],\"t\":\"{}\"}}", vec!["1"; 9_000].join(","), "x".repeat(1 << 20));
    let doubled = ask("size(args.a.map(i, args.t + args.t)) > 0", &text).unwrap_err();
    assert!(doubled.ends_with(" takes too much work on this call"), "{doubled}");
    // A large body with small questions is none of that.
    let large = format!("{{\"t\":\"{}\",\"a\":1}}", "x".repeat(9 << 20));
    assert_eq!(ask(&vec!["args.a == 1"; 30].join(" && "), &large), Ok(true));
}

#[test]
fn an_operator_is_told_which_part_decided() {
    let told = |when: &str| {
        let condition = Condition::parse(when).unwrap();
        with_facts(ORDER, |facts| condition.decided_by(facts))
    };
    for (when, why) in [
        ("args.amount > 1000", "`args.amount > 1000` is true, args.amount = 5000"),
        ("args.amount > 1000 && args.rate > 2.0", "`args.rate > 2.0` is false, args.rate = 1.5"),
        (
            "args.rate > 2.0 || args.amount > args.items[0].price",
            "`args.amount > args.items[0].price` is true, args.amount = 5000, args.items[0].price = 10",
        ),
        (
            "args.force && 'a' in args.tags",
            "`args.force` is true; `'a' in args.tags` is true, args.tags = a list",
        ),
        (
            "args.amount < 1 || args.rate < 1.0",
            "`args.amount < 1` is false, args.amount = 5000; `args.rate < 1.0` is false, args.rate = 1.5",
        ),
        ("args.amount < 1 || args.x", "`args.x` is missing"),
        ("args.x > 1 && true", "`args.x > 1` has no answer: `args.x` is missing"),
        (
            "args.force ? args.to == 'x' : true",
            "`args.force` is true; `args.to == 'x'` is false, args.to = \"ada@example.com\"",
        ),
        ("!(args.amount > 1000 || args.x)", "`!(args.amount > 1000 || args.x)` is false, args.amount = 5000"),
        (
            "args.items.exists(i, i.price > 100)",
            "`args.items.exists(i, i.price > 100)` is true, args.items = a list",
        ),
    ] {
        assert_eq!(told(when), why);
    }
}

#[test]
fn for_a_condition_that_holds_few_words_are_enough() {
    let told = |when: &str| {
        let condition = Condition::parse(when).unwrap();
        with_facts(ORDER, |facts| condition.because(facts))
    };
    for (when, why) in [
        ("args.amount > 1000", "args.amount > 1000, args.amount = 5000"),
        ("args.force && args.amount > 1000", "args.force; args.amount > 1000, args.amount = 5000"),
        (
            "args.rate > 2.0 ? args.force : args.amount > 1",
            "`args.rate > 2.0` is false, args.rate = 1.5; args.amount > 1, args.amount = 5000",
        ),
        ("args.x > 1", "`args.x > 1` has no answer: `args.x` is missing"),
    ] {
        assert_eq!(told(when), why);
    }
}
