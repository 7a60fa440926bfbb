//! A second opinion: another implementation of CEL answers conditions as ours does.

use cel::{Context, Program, Value as Theirs};
use proptest::prelude::*;

use super::*;

const ARGS: &str = r#"{"i":7,"n":-3,"z":0,"d":2.5,"s":"abc","t":true,"f":false,"u":null,"l":[1,2,3],"e":[],
    "m":{"k":1,"s":"x"},"o":[{"p":1},{"p":5},{"q":2}]}"#;

/// Their answer; none where they fail. They have no JSON here, so the arguments are written as CEL.
fn theirs(when: &str) -> Option<bool> {
    let args = Program::compile(ARGS).unwrap().execute(&Context::default()).unwrap();
    let mut context = Context::default();
    context.add_variable_from_value("args", args);
    match Program::compile(when).ok()?.execute(&context) {
        Ok(Theirs::Bool(truth)) => Some(truth),
        _ => None,
    }
}

fn number() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "args.i",
        "args.n",
        "args.z",
        "args.m.k",
        "args['i']",
        "args.l[0]",
        "args.l[2]",
        "1",
        "-2",
        "7",
        "0",
        "10",
        "args.missing",
        "args.l[9]",
        "size(args.l)",
        "args.s.size()",
        "int(args.d)",
        "args.o[1].p",
    ]);
    leaf.prop_map(str::to_owned).prop_recursive(3, 12, 2, |inner| {
        (inner.clone(), prop::sample::select(vec!["+", "-", "*", "/", "%"]), inner)
            .prop_map(|(a, sign, b)| format!("({a} {sign} {b})"))
    })
}

fn text() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "args.s",
        "args.m.s",
        "'abc'",
        "''",
        "'x'",
        "args.s + 'x'",
        "string(args.i)",
        "args.missing",
    ])
    .prop_map(str::to_owned)
}

fn truth() -> impl Strategy<Value = String> {
    let compared = prop::sample::select(vec!["<", "<=", "==", "!=", ">", ">="]);
    let order = || prop::sample::select(vec!["<", "<=", "==", "!=", ">", ">="]);
    let leaf = prop_oneof![
        (number(), compared, number()).prop_map(|(a, sign, b)| format!("{a} {sign} {b}")),
        (text(), order(), text()).prop_map(|(a, sign, b)| format!("{a} {sign} {b}")),
        (number(), order()).prop_map(|(a, sign)| format!("{a} {sign} args.d")),
        number().prop_map(|a| format!("{a} in args.l")),
        text().prop_map(|a| format!("{a} in args.m")),
        (text(), prop::sample::select(vec!["startsWith", "endsWith", "contains"]), text())
            .prop_map(|(a, method, b)| format!("({a}).{method}({b})")),
        prop::sample::select(vec![
            "args.t",
            "args.f",
            "args.u == null",
            "args.i == null",
            "args.missing",
            "has(args.u)",
            "has(args.missing)",
            "has(args.m.k)",
            "args.l == [1, 2, 3]",
            "args.l == [1, 2.0, 3]",
            "args.m == {'s': 'x', 'k': 1}",
            "args.e == []",
            "args.i == 's'",
            "args.d == 2.5",
            "true",
            "false",
            "args.s",
        ])
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let each = prop::sample::select(vec!["all", "exists", "exists_one"]);
        let element =
            prop::sample::select(vec!["x > 1", "x == 2", "x < args.i", "x == args.missing", "x % 2 == 1"]);
        let of_map = prop::sample::select(vec!["o.p > 0", "has(o.q) || o.p > 3", "o.p == 5"]);
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} && {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            inner.prop_map(|a| format!("!({a})")),
            (each.clone(), element.clone()).prop_map(|(each, body)| format!("args.l.{each}(x, {body})")),
            element.prop_map(|body| format!("size(args.l.filter(x, {body})) > 1")),
            (each, of_map).prop_map(|(each, body)| format!("args.o.{each}(o, {body})")),
            Just("args.l.map(x, x * 2) == [2, 4, 6]".to_owned()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn another_implementation_agrees(when in truth()) {
        let ours = match Condition::parse(&when) {
            Ok(condition) => with_facts(ARGS, |facts| condition.holds(facts)).ok(),
            // We know before what they find out while they run.
            Err(_) => None,
        };
        prop_assert_eq!(ours, theirs(&when), "{}", when);
    }
}
