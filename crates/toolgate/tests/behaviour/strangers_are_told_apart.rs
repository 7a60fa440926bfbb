//! Keys that are no keys are limited for each source. A proxy that the settings trust may say which source it was;
//! nobody else may, and it may say nothing else.

use crate::harness::*;

/// Far more than the limit of a source, and than what a slow machine gives back meanwhile.
const TRIES_MAX: usize = 400;

fn guess(stage: &Stage, forwarded_for: &str) -> u16 {
    let request = Request::post("/mcp/web", call(1, "read_note", "{}"))
        .key("agt_guessed")
        .header("X-Forwarded-For", forwarded_for);
    stage.gateway.send(&request).status
}

/// Whether guesses with these headers, one after the other, come to their limit.
fn comes_to_a_limit(stage: &Stage, forwarded_for: impl Fn(usize) -> String) -> bool {
    (0..TRIES_MAX).any(|number| match guess(stage, &forwarded_for(number)) {
        401 => false,
        429 => true,
        other => panic!("answered {other}"),
    })
}

#[test]
fn a_trusted_proxy_names_the_source() {
    let stage = Stage::with(Home::new(POLICY).set("gateway.trusted_proxies=127.0.0.0/8,10.0.0.0/8"));
    assert!(comes_to_a_limit(&stage, |_| "203.0.113.1".into()));
    assert_eq!(guess(&stage, "203.0.113.2"), 401, "another source has a limit of its own");
    // Only what trusted proxies wrote counts, from the right: what the client itself wrote before it does not.
    assert!(comes_to_a_limit(&stage, |number| format!("198.51.100.{}, 203.0.113.3, 10.1.2.3", number % 256)));
    // The same address in its IPv6 form is the same source.
    assert!(comes_to_a_limit(&stage, |number| {
        if number % 2 == 0 { "203.0.113.4".into() } else { "::ffff:203.0.113.4".into() }
    }));
    // What is no address names nobody: the proxy itself is the source.
    assert!(comes_to_a_limit(&stage, |number| format!("unknown-{number}")));
}

#[test]
fn a_source_names_nothing_else() {
    let stage = Stage::with(Home::new(POLICY).set("gateway.trusted_proxies=127.0.0.1"));
    assert!(comes_to_a_limit(&stage, |_| "203.0.113.1".into()));
    let good = |name: &str, value: &str| {
        let request = Request::post("/mcp/web", call(1, "read_note", "{}")).key(&stage.key);
        stage.gateway.send(&request.header("X-Forwarded-For", "203.0.113.1").header(name, value))
    };
    let reply = good("X-Forwarded-Host", "evil.test");
    assert_eq!(reply.verdict(), 200, "a good key is not held up by guesses: {}", reply.text());
    assert_eq!(stage.web.last().header("x-forwarded-for"), None);
    assert_eq!(good("Host", "evil.test").status, 403, "the proxy's word changes no Host");
    assert_eq!(good("Origin", "https://evil.test").status, 403);
    let denied = Request::post("/mcp/web", call(1, "delete_note", "{}")).key(&stage.key);
    assert_eq!(stage.gateway.send(&denied.header("X-Forwarded-For", "127.0.0.1")).verdict(), 403);
}

#[test]
fn nobody_else_names_a_source() {
    let stage = Stage::with(Home::new(POLICY).set("gateway.trusted_proxies=192.0.2.0/24"));
    assert!(comes_to_a_limit(&stage, |number| format!("203.0.{}.{}", number / 256, number % 256)));
}
