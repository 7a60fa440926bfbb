//! What docs/metrics.md lists is what a running gateway says, and the dashboard asks for nothing else.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::harness::{Home, POLICY, Request, send};

/// Name and kind of each metric of the document.
fn listed() -> BTreeSet<(String, String)> {
    let rows = include_str!("../../../../docs/metrics.md").lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
        Some((name.to_owned(), rest.split(' ').next()?.to_owned()))
    });
    rows.collect()
}

#[test]
fn every_metric_is_documented_and_every_documented_metric_is_there() {
    let home = Home::new(POLICY);
    let ada = home.operator("ada", "viewer");
    let gateway = home.serve();
    let token = gateway.operator_token(&ada);
    let reply = send(gateway.console(), &Request::new("GET", "/metrics").key(&token));
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = reply.text();
    let typed = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let typed: BTreeSet<(String, String)> = typed.map(|(name, kind)| (name.into(), kind.into())).collect();
    assert_eq!(typed, listed());
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = family(series.split('{').next().unwrap());
        assert!(typed.iter().any(|(known, _)| known == name), "{line}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
}

/// The metric that a series belongs to.
fn family(series: &str) -> &str {
    ["_bucket", "_sum", "_count"].into_iter().find_map(|end| series.strip_suffix(end)).unwrap_or(series)
}

#[test]
fn the_dashboard_shows_what_is_measured() {
    let text = include_str!("../../../../docs/grafana-dashboard.json");
    let dashboard: Value = serde_json::from_str(text).unwrap();
    let known: BTreeSet<String> = listed().into_iter().map(|(name, _)| name).collect();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut shown = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        assert!(!panel["title"].as_str().unwrap().is_empty() && panel["gridPos"].is_object(), "{panel}");
        for target in panel["targets"].as_array().unwrap() {
            let question = target["expr"].as_str().unwrap();
            let words = question.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
            let metrics: Vec<&str> = words.filter(|word| word.starts_with("toolgate_")).map(family).collect();
            assert!(!metrics.is_empty(), "{question}");
            for metric in metrics {
                assert!(known.contains(metric), "{question}: `{metric}` is in no docs/metrics.md");
                shown.insert(metric.to_owned());
            }
        }
    }
    assert_eq!(shown, known, "what is measured is shown");
}
