//! One gateway of three loses its way to Postgres, or to Redis: it stops, the others go on, and it comes back by itself.

use crate::stage::{Cluster, Load, Node, Proxy, Weather};

/// What its agents may be told.
const AWAY: [&str; 4] =
    ["stale-authorization", "audit-unavailable", "store-unavailable", "counters-unavailable"];

/// One of a gateway's ways.
type Way = fn(&Node) -> &Proxy;

#[test]
#[ignore = "SKIPPED: needs Postgres and Redis (TOOLGATE_PEERS is not set; cargo xtask test sets it)"]
fn a_gateway_that_is_cut_off_stops_and_the_others_go_on() {
    let cluster = Cluster::new();
    let load = Load::on(&cluster);
    load.passes_everywhere();
    let ways: [(Way, &str); 2] =
        [(|node| &node.store, "stale-authorization"), (|node| &node.counters, "counters-unavailable")];
    for (way, told) in ways {
        for weather in [Weather::Hangs, Weather::Cut] {
            way(&cluster.nodes[2]).turns(weather);
            load.refused(2, &[told]);
            let from = load.now();
            // Where it held the writers' lock, the others waited for that; now they go on.
            for _ in 0..3 {
                load.passes(0);
                load.passes(1);
            }
            assert_eq!(load.passed(2, from).len(), 0, "who hears nothing sends nothing");
            way(&cluster.nodes[2]).turns(Weather::Fair);
            load.passes(2);
        }
    }
    load.settle(&cluster, &AWAY);
}
