//! `audit verify`: does every hash and every link hold.

use domain::audit::push_hex;
use serde_json::{Value, json};
use store::{Store, Verification};

use super::super::{Context, Verdict};
use crate::output::{Mark, age, count, count_of, day_and_time, escape_foreign};

pub async fn verify(context: &Context, store: &Store) -> anyhow::Result<Verdict> {
    let started = context.now().monotonic;
    let progress = super::super::progress::Progress::new(context, "verifying", "events");
    let found = store.verify(|done, all| progress.at(done, all)).await?;
    progress.clear();
    let took = context.now().monotonic.saturating_sub(started);
    if context.output.json {
        context.output.json(&as_json(&found))?;
    } else {
        let lines = lines(&found, &age(took));
        let mark = if found.ok { Mark::Done } else { Mark::Failed };
        for (at, line) in lines.into_iter().enumerate() {
            match at {
                0 => context.output.answer_marked(mark, line)?,
                _ => context.output.answer(format!("  {line}"))?,
            }
        }
    }
    Ok(if found.ok { Verdict::Done } else { Verdict::No })
}

fn as_json(found: &Verification) -> Value {
    let mut answer = json!({ "ok": found.ok, "events": found.events, "chains": found.chains });
    let Some(members) = answer.as_object_mut() else { return answer };
    if let Some(broken) = &found.first_broken {
        members.insert("first_broken".to_owned(), json!({ "writer": broken.writer, "seq": broken.seq }));
    } else if let Some(newest) = &found.newest {
        let newest = json!({ "writer": newest.writer, "seq": newest.seq, "hash": hex(&newest.hash) });
        members.insert("newest".to_owned(), newest);
    }
    answer
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    push_hex(&mut text, bytes);
    text
}

fn lines(found: &Verification, took: &str) -> Vec<String> {
    if let Some(broken) = &found.first_broken {
        let facts = [
            broken.at.map(day_and_time),
            broken.kind.as_deref().map(|kind| escape_foreign(kind).into_owned()),
        ];
        let facts: Vec<String> = facts.into_iter().flatten().collect();
        let facts = if facts.is_empty() { String::new() } else { format!(" ({})", facts.join(", ")) };
        let (writer, seq) = (escape_foreign(&broken.writer), broken.seq);
        let number = count(u64::try_from(seq).unwrap_or_default());
        let before = match seq {
            ..=1 => "no event holds".to_owned(),
            2 => "event 1 holds".to_owned(),
            _ => format!("events 1 to {} hold", count(u64::try_from(seq - 1).unwrap_or_default())),
        };
        return vec![
            format!("chain {writer} breaks at event {number}{facts}: {}", escape_foreign(&broken.why)),
            format!(
                "{before}; {number} and what follows prove nothing: compare with a backup, keep this file"
            ),
        ];
    }
    let events = count_of(usize::try_from(found.events).unwrap_or(usize::MAX), "event");
    let chains = count_of(usize::try_from(found.chains).unwrap_or(usize::MAX), "chain");
    let newest = found.newest.as_ref().map(|newest| {
        let hash = hex(newest.hash.get(..4).unwrap_or_default());
        format!("; newest: {} {} {hash}…", escape_foreign(&newest.writer), newest.seq)
    });
    vec![
        format!("{events} in {chains}, every hash and link holds ({took}){}", newest.unwrap_or_default()),
        "a cut tail or a whole rewrite shows only against a copy of that line kept elsewhere".to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use store::{Broken, Newest};

    use super::*;

    #[test]
    fn a_good_trail_names_its_newest_event() {
        let newest = Newest { writer: "gw-1".into(), seq: 1204, hash: [0x6a; 32] };
        let found =
            Verification { ok: true, events: 1204, chains: 1, newest: Some(newest), first_broken: None };
        assert_eq!(
            lines(&found, "8 ms"),
            [
                "1,204 events in 1 chain, every hash and link holds (8 ms); newest: gw-1 1204 6a6a6a6a…",
                "a cut tail or a whole rewrite shows only against a copy of that line kept elsewhere"
            ]
        );
        assert!(as_json(&found)["newest"]["hash"].as_str().unwrap().len() == 64);
    }

    #[test]
    fn a_broken_chain_says_where_and_what_still_holds() {
        let broken = Broken {
            writer: "gw-1".into(),
            seq: 871,
            at: Some("2026-11-21T09:14:00Z".parse().unwrap()),
            kind: Some("refusal".into()),
            why: "its fields do not give its hash".into(),
        };
        let found =
            Verification { ok: false, events: 870, chains: 1, newest: None, first_broken: Some(broken) };
        assert_eq!(
            lines(&found, "8 ms"),
            [
                "chain gw-1 breaks at event 871 (2026-11-21 09:14, refusal): its fields do not give its hash",
                "events 1 to 870 hold; 871 and what follows prove nothing: compare with a backup, keep this file"
            ]
        );
        assert_eq!(
            as_json(&found).to_string(),
            r#"{"ok":false,"events":870,"chains":1,"first_broken":{"writer":"gw-1","seq":871}}"#
        );
    }
}
