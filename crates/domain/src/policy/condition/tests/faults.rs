//! Conditions that mean nothing are found when they are read, at their place.

use proptest::prelude::*;

use super::*;

#[test]
fn what_can_never_work_is_said_at_its_place() {
    for (when, part, message) in [
        (
            "arg.amount > 1000",
            "arg",
            "`when` uses the unknown name `arg`; known: args, query, call, agent, now",
        ),
        (
            "args.a == open",
            "open",
            "`when` uses the unknown name `open`; known: args, query, call, agent, now",
        ),
        (
            "args.to.startWith('a')",
            "startWith",
            "`when` uses the unknown function `startWith`; did you mean `startsWith`?",
        ),
        (
            "args.to.matches('a+')",
            "matches",
            "`when` uses the unknown function `matches`; use `startsWith`, `endsWith` or `contains`",
        ),
        (
            "len(args.a) > 1",
            "len",
            "`when` uses the unknown function `len`; known: size, int, uint, double, string, timestamp, duration, has",
        ),
        ("call.tol == 'a'", "call.tol", "`call` has no field `tol`; did you mean `tool`?"),
        ("agent['nam'] == 'a'", "'nam'", "`agent` has no field `nam`; did you mean `name`?"),
        ("args.a = 1", "=", "`=` is not understood here; did you mean `==`?"),
        ("args.a == 1 & true", "&", "`&` is not understood here; did you mean `&&`?"),
        ("args.a >", "", "`when` cannot be read: found the end, wanted a value"),
        ("(args.a > 1", "", "`when` cannot be read: found the end, wanted `)`"),
        ("args.a > 1)", ")", "`when` cannot be read: found `)`, wanted an operator such as `&&`, or the end"),
        (
            "args.a > 1 args.b",
            "args",
            "`when` cannot be read: found `args`, wanted an operator such as `&&`, or the end",
        ),
        ("args.a == 'x", "'x", "the text has no end; close it with `'`"),
        ("args.a == '\\q'", "\\q", "this escape is not known; write `\\\\` for one backslash"),
        ("args.a == '\\ud800'", "\\ud800", "this escape stands for no character"),
        ("args.a == 99999999999999999999", "99999999999999999999", "the number is too large"),
        (
            "args.a == 9223372036854775808",
            "9223372036854775808",
            "the number is too large; write it with `u` at its end, or as `1e20`",
        ),
        ("args.a == 1x", "1x", "`1x` is neither a number nor a name"),
        ("args.a == b'x'", "b", "bytes are not supported; write a text without the `b`"),
        ("args.`a-b` == 1", "`", "``` is not understood here; write a field like that as `args[\"…\"]`"),
        (
            "args.in == 1",
            "in",
            "`when` cannot be read: found `in`, wanted a name; any other field is written as `[\"…\"]`",
        ),
        (
            "args.amount + 1",
            "args.amount + 1",
            "`when` must be true or false, this is a number; compare it with something",
        ),
        ("'yes'", "'yes'", "`when` must be true or false, this is a text; compare it with something"),
        ("args.a && 1", "1", "this must be true or false, but is a number"),
        ("agent.name > 5", "agent.name > 5", "`>` cannot compare a text with a number"),
        ("agent.name == 5", "agent.name == 5", "a text never equals a number"),
        ("agent.name in 'admins'", "agent.name in 'admins'", "`in` cannot look for a text in a text"),
        ("now > '2026-01-01'", "now > '2026-01-01'", "`>` cannot compare a point in time with a text"),
        ("now.hour == 1", "now.hour", "a point in time has no fields"),
        ("size(5) == 1", "5", "`size` cannot use a number"),
        ("size(args.a, args.b) == 1", "size(args.a, args.b)", "`size` is called with too many values"),
        ("has(args) && true", "args", "`has` takes a field; write for example `has(args.amount)`"),
        (
            "args.a.all(args, true)",
            "args",
            "`when` cannot be read: found `args`, wanted a variable that is not taken, as in `all(x, x > 1)`",
        ),
        (
            "args.a.all(i, i > 1) && i == 1",
            "i",
            "`when` uses the unknown name `i`; known: args, query, call, agent, now",
        ),
        (
            "1 + 1u == 2",
            "1 + 1u",
            "`+` cannot be used on a number and a number of these kinds; write both as `1`, as `1u` or as `1.0`, or use `double(…)`",
        ),
        ("{'a': 1, 'a': 2} == args", "'a'", "this key is there twice; leave one out"),
    ] {
        let fault = Condition::parse(when).map(|_| ()).unwrap_err();
        assert_eq!((fault.message(), when.get(fault.range())), (message, Some(part)), "{when}");
    }
}

#[test]
fn conditions_have_bounds() {
    let long = |n: usize| format!("args.a == '{}'", "x".repeat(n - 12));
    assert!(Condition::parse(&long(2048)).is_ok());
    let said = |when: &str| Condition::parse(when).map(|_| ()).unwrap_err().message().to_owned();
    assert_eq!(said(&long(2049)), "a condition has at most 2048 bytes; split the rule");
    let levels = "a condition has at most 40 levels; split the rule";
    for when in [
        format!("{}true{}", "(".repeat(1000), ")".repeat(1000)),
        format!("{}true", "!".repeat(2000)),
        format!("{}1 < 2", "-".repeat(2000)),
        format!("{}{} == args", "[".repeat(1000), "]".repeat(1000)),
        format!("{}true", "true ? true : ".repeat(140)),
        format!("args{} == 1", ".a".repeat(1000)),
        format!("args{} == 1", "[0]".repeat(600)),
        format!("1{} == 1", "+1".repeat(1000)),
        format!("{}true{}", (0..60).map(|n| format!("args.all(x{n}, ")).collect::<String>(), ")".repeat(60)),
    ] {
        assert_eq!(said(&when), levels, "{when}");
    }
    assert!(Condition::parse(&vec!["args.a"; 200].join("||")).is_ok(), "a chain is one level");
}

/// Pieces of conditions, put together at random: most are wrong, many are nearly right.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "args",
        "query",
        "call",
        "agent",
        "now",
        "x",
        ".",
        ".a",
        ".size()",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "?",
        "!",
        "-",
        "+",
        "*",
        "/",
        "%",
        "<",
        "<=",
        "==",
        "!=",
        "&&",
        "||",
        " in ",
        "1",
        "2u",
        "1.5",
        "0x1f",
        "9223372036854775807",
        "1e308",
        "'a'",
        "\"b\"",
        "r'\\'",
        "'\\n'",
        "null",
        "true",
        "has(",
        ".all(x,",
        ".map(x,",
        ".exists(x,",
        "size(",
        "int(",
        "double(",
        "string(",
        "timestamp(",
        "duration('1h')",
        ".getHours()",
        ".contains(",
        "ä",
        "\u{202e}",
        "//",
        "\n",
    ]);
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics_and_every_fault_has_a_place(when in prop_oneof![pieces(), "\\PC{0,40}"], args in "[0-9\\[\\]{}:,\"a.]{0,12}") {
        match Condition::parse(&when) {
            Ok(condition) => {
                let answers = |args: &str| with_facts(args, |facts| (condition.holds(facts), condition.decided_by(facts)));
                let (once, again) = (answers(ORDER), answers(ORDER));
                prop_assert_eq!(once, again);
                let _ = answers(&args);
            }
            Err(fault) => {
                prop_assert!(when.get(fault.range()).is_some(), "{:?}", fault);
                prop_assert!(!fault.message().is_empty());
            }
        }
    }
}
