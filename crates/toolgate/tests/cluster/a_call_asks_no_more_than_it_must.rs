//! An allowed call costs its record at Postgres and one script at Redis: no other question of it is asked of a server.

use std::time::Instant;

use sqlx::Row as _;

use crate::stage::{
    Cluster, GATEWAYS,
    harness::{Request, eventually},
    number,
};

/// How many calls are looked at.
const CALLS: u64 = 200;
/// What gateways ask by the clock, at most so often in a second, each of one kind.
const BY_THE_CLOCK: u64 = 20 * GATEWAYS as u64;

#[test]
#[ignore = "SKIPPED: needs Postgres and Redis (TOOLGATE_PEERS is not set; cargo xtask test sets it)"]
fn an_allowed_call_costs_its_record_and_one_script() {
    let cluster = Cluster::new();
    // A machine that is too slow to count or to confirm refuses now and then. How often that was.
    let call = || {
        let mut refused = 0;
        eventually("a call to pass", || {
            let asks = Request::new("GET", &format!("/http/api/v1/calls/{}", number())).key(&cluster.key);
            let passed = cluster.nodes[0].gateway.send(&asks).status == 200;
            refused += u64::from(!passed);
            passed.then_some(())
        });
        refused
    };
    for _ in 0..20 {
        call();
    }
    cluster.postgres.ask("CREATE EXTENSION pg_stat_statements");
    cluster.postgres.ask("SELECT pg_stat_statements_reset()");
    assert!(cluster.redis.ask("CONFIG RESETSTAT").starts_with("+OK"));
    let began = Instant::now();
    let refused: u64 = (0..CALLS).map(|_| call()).sum();
    let seconds = began.elapsed().as_secs() + 1;

    let mut records = 0;
    for row in cluster.postgres.ask("SELECT query, calls FROM pg_stat_statements ORDER BY calls DESC") {
        let (text, times): (String, i64) = (row.get(0), row.get(1));
        let times = u64::try_from(times).unwrap();
        if text.contains("INSERT INTO audit") {
            records += times;
        } else if text.contains("now() = statement_timestamp()") {
            // Behind each record, when its call goes on already: whether the connection can be used again.
            assert!(times <= 2 * CALLS + seconds * BY_THE_CLOCK, "{times} times {text}");
        } else {
            assert!(
                times <= CALLS / 10 + seconds * BY_THE_CLOCK,
                "{times} times in {seconds} s, for {CALLS} calls: {text}"
            );
        }
    }
    // An intent and an outcome, each with whatever else is to be written at that moment.
    assert!(
        (CALLS..=2 * CALLS + seconds * BY_THE_CLOCK).contains(&records),
        "{records} records for {CALLS} calls"
    );

    let stats = cluster.redis.ask("INFO commandstats");
    let times = |command: &str| -> u64 {
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        line.map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap())
    };
    assert!((CALLS..=CALLS + refused).contains(&times("evalsha")), "{refused} refused: {stats}");
    assert!(
        times("eval") + times("multi") + times("script|load") <= 3 * refused,
        "{refused} refused: {stats}"
    );
}
