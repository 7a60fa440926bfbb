//! `audit verify`: does every hash and every link hold, and is it still the trail that it was at a checkpoint.

use std::path::Path;

use anyhow::{anyhow, bail};
use domain::audit::push_hex;
use serde::Deserialize;
use serde_json::{Value, json};
use store::{Newest, Store, Verification};

use super::super::{Context, Verdict, read_optional};
use crate::output::{Mark, age, count, count_of, day_and_time, escape_foreign};

/// A checkpoint that the trail does not keep to.
struct Departure {
    checkpoint: Newest,
    /// What stands in its place; `None`: the trail does not go so far.
    found: Option<[u8; 32]>,
}

pub async fn verify(context: &Context, store: &Store, kept: Option<&Path>) -> anyhow::Result<Verdict> {
    // Read first: a file of something else needs no long wait.
    let checkpoints = kept.map(read_checkpoints).transpose()?;
    let started = context.now().monotonic;
    let progress = super::super::progress::Progress::new(context, "verifying", "events");
    let found = store.verify(|done, all| progress.at(done, all)).await?;
    progress.clear();
    let took = context.now().monotonic.saturating_sub(started);
    let checkpoints = checkpoints.map(|kept| still_there(kept, found.dropped)).transpose()?;
    let broken = match &checkpoints {
        // Where a hash does not hold, no checkpoint says more.
        Some(checkpoints) if found.ok => first_broken(store, checkpoints).await?,
        _ => None,
    };
    let ok = found.ok && broken.is_none();
    if context.output.json {
        let mut answer = as_json(&found);
        if let (Some(members), Some(checkpoints)) = (answer.as_object_mut(), &checkpoints) {
            members.insert("ok".to_owned(), json!(ok));
            members.insert("checkpoints".to_owned(), json!(checkpoints.len()));
            if let Some(broken) = &broken {
                members.insert("not_the_trail_of".to_owned(), newest_json(&broken.checkpoint));
            }
        }
        context.output.json(&answer)?;
    } else {
        let lines = match (&broken, &checkpoints) {
            (Some(broken), _) => broken_lines(&found, broken),
            (None, Some(checkpoints)) if found.ok => {
                let mut lines = lines(&found, &age(took));
                lines.truncate(1);
                lines.push(format!("it is the trail of {}", count_of(checkpoints.len(), "checkpoint")));
                lines
            }
            (None, _) => lines(&found, &age(took)),
        };
        let mark = if ok { Mark::Done } else { Mark::Failed };
        for (at, line) in lines.into_iter().enumerate() {
            match at {
                0 => context.output.answer_marked(mark, line)?,
                _ => context.output.answer(format!("  {line}"))?,
            }
        }
    }
    Ok(if ok { Verdict::Done } else { Verdict::No })
}

/// Earlier answers of `audit verify --json`, one a line.
fn read_checkpoints(path: &Path) -> anyhow::Result<Vec<Newest>> {
    #[derive(Deserialize)]
    struct Answer {
        ok: bool,
        newest: Option<Kept>,
    }
    #[derive(Deserialize)]
    struct Kept {
        writer: String,
        seq: i64,
        hash: String,
    }
    let shown = path.display();
    let text = read_optional(path)?.ok_or_else(|| {
        anyhow!("there is no such file ({shown}, --checkpoint); name the one that checkpoints are kept in")
    })?;
    let mut checkpoints = Vec::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let unreadable = || {
            let line = at + 1;
            anyhow!(
                "{shown}:{line} is no answer of `audit verify --json` (--checkpoint); keep those, one a line"
            )
        };
        let answer: Answer = serde_json::from_str(line).map_err(|_| unreadable())?;
        // One of a broken or an empty trail promises nothing.
        if let (true, Some(Kept { writer, seq, hash })) = (answer.ok, answer.newest) {
            let hash = store::hash_from_hex(&hash).ok_or_else(unreadable)?;
            checkpoints.push(Newest { writer, seq, hash });
        }
    }
    if checkpoints.is_empty() {
        bail!(
            "there is no checkpoint in it ({shown}, --checkpoint); `toolgate audit verify --json` writes one"
        );
    }
    Ok(checkpoints)
}

/// Those of events that were not dropped since.
fn still_there(mut checkpoints: Vec<Newest>, dropped: u64) -> anyhow::Result<Vec<Newest>> {
    checkpoints.retain(|checkpoint| u64::try_from(checkpoint.seq).is_ok_and(|seq| seq > dropped));
    if checkpoints.is_empty() {
        bail!(
            "all events with a checkpoint were dropped since (audit.retain); keep a newer answer of `toolgate audit verify --json`"
        );
    }
    Ok(checkpoints)
}

async fn first_broken(store: &Store, checkpoints: &[Newest]) -> anyhow::Result<Option<Departure>> {
    for checkpoint in checkpoints {
        let found = store.hash_of_event(checkpoint.seq).await?;
        if found != Some(checkpoint.hash) || *checkpoint.writer != **store.writer_name() {
            return Ok(Some(Departure { checkpoint: checkpoint.clone(), found }));
        }
    }
    Ok(None)
}

/// What is wrong with a trail that holds by itself.
fn broken_lines(found: &Verification, broken: &Departure) -> Vec<String> {
    let Departure { checkpoint, found: there } = broken;
    let number = |seq: i64| count(u64::try_from(seq).unwrap_or_default());
    let short = |hash: &[u8; 32]| hex(hash.get(..4).unwrap_or_default());
    let (writer, seq) = (escape_foreign(&checkpoint.writer), number(checkpoint.seq));
    let first = match there {
        None => format!(
            "the trail ends at event {}, and the checkpoint is of event {seq} ({writer}, {}…)",
            number(found.newest.as_ref().map_or(0, |newest| newest.seq)),
            short(&checkpoint.hash)
        ),
        Some(hash) => format!(
            "event {seq} is not the one of the checkpoint ({writer}, {}…, here {}…)",
            short(&checkpoint.hash),
            short(hash)
        ),
    };
    vec![
        first,
        "an older store was restored, the end was cut, or the trail was written anew; keep this file, and compare it \
         with a backup"
            .to_owned(),
    ]
}

fn newest_json(newest: &Newest) -> Value {
    json!({ "writer": newest.writer, "seq": newest.seq, "hash": hex(&newest.hash) })
}

/// The answer of `audit verify --json`.
pub fn as_json(found: &Verification) -> Value {
    let mut answer = json!({ "ok": found.ok, "events": found.events, "chains": found.chains });
    let Some(members) = answer.as_object_mut() else { return answer };
    if found.dropped > 0 {
        members.insert("dropped".to_owned(), json!(found.dropped));
    }
    if let Some(broken) = &found.first_broken {
        members.insert("first_broken".to_owned(), json!({ "writer": broken.writer, "seq": broken.seq }));
    } else if let Some(newest) = &found.newest {
        members.insert("newest".to_owned(), newest_json(newest));
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
    let dropped = match found.dropped {
        0 => String::new(),
        dropped => format!(" (behind {}, dropped as `audit.retain` says)", count(dropped)),
    };
    let newest = found.newest.as_ref().map(|newest| {
        let hash = hex(newest.hash.get(..4).unwrap_or_default());
        format!("; newest: {} {} {hash}…", escape_foreign(&newest.writer), newest.seq)
    });
    vec![
        format!(
            "{events} in {chains}{dropped}, every hash and link holds ({took}){}",
            newest.unwrap_or_default()
        ),
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
        let found = Verification {
            ok: true,
            events: 1204,
            chains: 1,
            dropped: 0,
            newest: Some(newest),
            first_broken: None,
        };
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
    fn a_trail_that_is_not_the_one_of_a_checkpoint_says_how() {
        let newest = |seq, byte| Newest { writer: "gw-1".into(), seq, hash: [byte; 32] };
        let found = Verification {
            ok: true,
            events: 1204,
            chains: 1,
            dropped: 0,
            newest: Some(newest(1204, 1)),
            first_broken: None,
        };
        let cut = Departure { checkpoint: newest(1310, 0x6a), found: None };
        assert_eq!(
            broken_lines(&found, &cut)[0],
            "the trail ends at event 1,204, and the checkpoint is of event 1,310 (gw-1, 6a6a6a6a…)"
        );
        let other = Departure { checkpoint: newest(1100, 0x6a), found: Some([0x77; 32]) };
        assert_eq!(
            broken_lines(&found, &other)[0],
            "event 1,100 is not the one of the checkpoint (gw-1, 6a6a6a6a…, here 77777777…)"
        );
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
        let found = Verification {
            ok: false,
            events: 870,
            chains: 1,
            dropped: 0,
            newest: None,
            first_broken: Some(broken),
        };
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
