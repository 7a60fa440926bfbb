//! `toolgate demo`: the same calls before and after, against an upstream that counts what reaches it. Every
//! line is proven as it is printed; nothing in it is canned.

mod agent;
mod approvals;
mod billing;
mod notes;
mod password;
mod stage;
mod upstream;

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use clap::Args;
use http::Method;
use serde_json::json;

use self::{
    agent::{Agent, Answer},
    stage::Stage,
};
use super::{Context, Verdict, ends::Ends};
use crate::output::{Mark, Output, Style};

/// How wide a line is, so that figures stand below each other.
const WIDTH: usize = 98;

/// What the command line says.
#[derive(Debug, Args)]
pub struct Options {
    /// Prove it and exit.
    #[arg(long)]
    check: bool,
}

/// Plays the demo; without `--check` keeps it running until Ctrl-C.
///
/// # Errors
/// When something is not proven, or the demo cannot be set up.
pub fn run(context: &Context, options: &Options) -> anyhow::Result<Verdict> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the machine gives no event loop; check its limits (ulimit -n)")?;
    let verdict = runtime.block_on(play(context, options.check));
    runtime.shutdown_timeout(Duration::from_secs(1));
    verdict
}

async fn play(context: &Context, check: bool) -> anyhow::Result<Verdict> {
    let started = context.now().monotonic;
    let mut screen = Screen { output: &context.output, lines: Vec::new() };
    let version = env!("CARGO_PKG_VERSION");
    screen.say(&format!(
        "toolgate {version} demo · upstreams in this process (notes: MCP, billing: HTTP) · temporary home"
    ))?;
    let mut ends = Ends::listen_at_terminal()?;
    let stage = Stage::set(context, &mut ends).await?;
    let played = tokio::select! {
        played = show(&stage, &mut screen, context, check, started) => played,
        () = ends.next() => Err(stopped()),
    };
    match played {
        Ok(None) if check => {}
        Ok(None) => ends.next().await,
        Ok(Some(doubt)) => {
            let home = stage.keep().await;
            anyhow::bail!("{doubt}; do not rely on this build, its home was kept ({})", home.display());
        }
        Err(error) => {
            stage.clear().await?;
            return Err(error);
        }
    }
    stage.clear().await?;
    Ok(Verdict::Done)
}

/// Why a demo ends that was told to before it had shown everything.
fn stopped() -> anyhow::Error {
    anyhow::anyhow!("the demo was stopped before its end; nothing of it is left")
}

/// Both acts, what was proven by them, and without `check` what can be done now. What was not proven, if something was not.
async fn show(
    stage: &Stage,
    screen: &mut Screen<'_>,
    context: &Context,
    check: bool,
    started: Duration,
) -> anyhow::Result<Option<String>> {
    screen.heading("BEFORE", "the agent calls the upstreams itself")?;
    before(stage, screen).await?;
    screen.heading("AFTER", "the same calls through Toolgate, upstreams reset; the agent holds one key")?;
    stage.notes.reset();
    stage.billing.upstream.reset();
    after(stage, screen, context, check).await?;

    let took = context.now().monotonic.saturating_sub(started).as_secs_f64();
    let (proven, all) = (screen.proven(), screen.lines.len());
    if context.output.json {
        context.output.json(&json!({ "proven": proven, "of": all, "lines": screen.lines }))?;
    }
    screen.say(&format!("{proven} of {all} proven in {took:.1} s"))?;
    if let Some(failed) = screen.first_failure() {
        return Ok(Some(format!("{} of {all} not proven ({failed})", all - proven)));
    }
    if !check {
        invite(stage, screen, context).await?;
    }
    Ok(None)
}

/// Leaves a refund that waits, and says where to look and what to do next.
async fn invite(stage: &Stage, screen: &mut Screen<'_>, context: &Context) -> anyhow::Result<()> {
    approvals::leave_one(stage).await?;
    let home = stage.home().display().to_string();
    let (console, owner, password) = stage.console();
    let waiting = match stage.waiting().await? {
        1 => "1 refund waits for you".to_owned(),
        count => format!("{count} refunds wait for you"),
    };
    screen.say("")?;
    screen.say(&format!("Console  http://{console}   {owner}   {password}   {waiting}"))?;
    screen.say(&format!(
        "Agents   http://{}/mcp/notes   with the header Authorization: Bearer {}",
        stage.address(),
        stage.key()
    ))?;
    screen.say(&format!("Look     {}", context.invocation.homeless(&format!("audit list --home {home}"))))?;
    let init = context.invocation.homeless("init");
    screen
        .say(&format!("Next     your own server: {init}          Ctrl-C ends the demo and removes its home"))
}

/// What an agent can do that holds the upstream's address itself.
async fn before(stage: &Stage, screen: &mut Screen<'_>) -> anyhow::Result<()> {
    let agent = Agent::new(stage.notes_address(), None)?;
    let answer = agent.call_tool("delete_note", &json!({ "id": "q3" })).await?;
    let done = answer.status == 200 && answer.text().contains("deleted");
    screen.notes(Line {
        holds: done && stage.notes.hits() == 1,
        harmful: true,
        what: "delete_note {\"id\":\"q3\"}".into(),
        outcome: "done: anybody can, nobody knows".into(),
        expected: "a deletion that nobody stops",
        hits: Some(stage.notes.hits()),
    })?;

    let agent = Agent::new(stage.billing.upstream.origin(), Some(stage.secret()))?;
    let answer = agent.request(Method::POST, "/v1/refunds", Some(&json!({ "amount": 5000 }))).await?;
    let (hits, seen) = (stage.billing.upstream.hits(), stage.billing.take_seen());
    screen.billing(Line {
        holds: answer.status == 200 && (hits, seen) == (1, 1),
        harmful: true,
        what: "POST /v1/refunds {\"amount\":5000}".into(),
        outcome: format!("{}: the agent holds the credential itself", answer.status),
        expected: "200 for whoever has the credential",
        hits: Some(hits),
    })
}

/// The same and more through the gateway, each with what the upstream saw of it.
async fn after(stage: &Stage, screen: &mut Screen<'_>, context: &Context, check: bool) -> anyhow::Result<()> {
    let stranger = Agent::new(stage.url("mcp/notes"), None)?;
    let agent = Agent::new(stage.url("mcp/notes"), Some(stage.key()))?;
    let direct = Agent::new(stage.notes_address(), None)?;
    let id = json!({ "id": "q3" });

    let answer = stranger.call_tool("read_note", &id).await?;
    let hits = stage.notes.take_hits();
    screen.notes(Line {
        holds: answer.status == 401 && hits == 0,
        harmful: false,
        what: "read_note, no key".into(),
        outcome: answer.verdict("unauthorized"),
        expected: "401 and 0 hits",
        hits: Some(hits),
    })?;

    let all = direct.list_tools().await?;
    let shown = agent.list_tools().await?;
    let hidden = shown.iter().all(|name| !name.starts_with("delete_"));
    screen.notes(Line {
        holds: hidden && shown.len() == 3 && all.len() == 5,
        harmful: false,
        what: "tools/list".into(),
        outcome: format!("{} of {} tools shown, no delete_* among them", shown.len(), all.len()),
        expected: "3 of 5 tools, no delete_*",
        hits: None,
    })?;

    let original = direct.call_tool("read_note", &id).await?;
    stage.notes.reset();
    let answer = agent.call_tool("read_note", &id).await?;
    let hits = stage.notes.take_hits();
    screen.notes(Line {
        holds: answer.status == 200 && answer.body == original.body && hits == 1,
        harmful: false,
        what: "read_note {\"id\":\"q3\"}".into(),
        outcome: if answer.body == original.body {
            "200 forwarded, answer unchanged to the byte".into()
        } else {
            format!("{} forwarded, but the answer was changed", answer.status)
        },
        expected: "200, the upstream's bytes and 1 hit",
        hits: Some(hits),
    })?;

    let answer = agent.call_tool("delete_note", &id).await?;
    let hits = stage.notes.take_hits();
    screen.notes(Line {
        holds: answer.code() == Some(403) && hits == 0,
        harmful: false,
        what: "delete_note {\"id\":\"q3\"}".into(),
        outcome: answer.verdict("forbidden, a deny binds every role"),
        expected: "403 and 0 hits",
        hits: Some(hits),
    })?;

    let query = json!({ "text": "budget" });
    let all_at_once = (0..25).map(|_| agent.call_tool("search_notes", &query));
    let answers: Vec<Answer> = futures_util::future::try_join_all(all_at_once).await?;
    let good = answers.iter().filter(|answer| answer.status == 200 && answer.code().is_none()).count();
    let limited = answers.iter().filter(|answer| answer.code() == Some(429)).count();
    let hits = stage.notes.take_hits();
    screen.notes(Line {
        holds: (good, limited, hits) == (20, 5, 20),
        harmful: false,
        what: "search_notes, 25 at once".into(),
        outcome: format!("{good} × 200, {limited} × 429 rate-limited (20/1h)"),
        expected: "20 × 200, 5 × 429 and 20 hits",
        hits: Some(hits),
    })?;

    let agent = Agent::new(stage.url("http/billing"), Some(stage.key()))?;
    let answer = agent.request(Method::GET, "/v1/balance", None).await?;
    let (hits, seen) = (stage.billing.upstream.take_hits(), stage.billing.take_seen());
    let elsewhere = stage.secret_elsewhere(&answer.body)?;
    screen.billing(Line {
        holds: answer.status == 200 && (hits, seen, elsewhere) == (1, 1, 0),
        harmful: false,
        what: "GET /v1/balance".into(),
        outcome: format!("{}, credential seen: upstream {seen}×, elsewhere {elsewhere}×", answer.status),
        expected: "200, and the credential at the upstream only",
        hits: Some(hits),
    })?;

    let refunds = approvals::play(stage, screen, context, check).await?;

    let proof = stage.prove_the_trail(context).await?;
    let sent = 22 + refunds;
    screen.trail(Line {
        holds: proof.holds(sent),
        harmful: false,
        what: format!("{} events, {} calls = {sent} hits", proof.events, proof.calls),
        outcome: proof.to_string(),
        expected: "as many calls as hits, a chain that holds, and the altered byte found",
        hits: None,
    })
}

/// One proven (or disproven) line.
struct Line {
    holds: bool,
    /// Whether what happened is what Toolgate is there to prevent.
    harmful: bool,
    what: String,
    outcome: String,
    expected: &'static str,
    hits: Option<u64>,
}

/// Prints lines as they happen, and keeps score.
struct Screen<'o> {
    output: &'o Output,
    lines: Vec<serde_json::Value>,
}

impl Screen<'_> {
    fn say(&self, text: &str) -> anyhow::Result<()> {
        if !self.output.json {
            self.output.answer(text)?;
        }
        Ok(())
    }

    fn heading(&self, word: &str, text: &str) -> anyhow::Result<()> {
        let head = format!("{word:<8}{text}");
        let gap = WIDTH.saturating_sub(head.chars().count());
        self.say(&format!("{}{:>gap$}", self.output.stdout.paint(Style::Bold, head), "UPSTREAM HITS"))
    }

    fn notes(&mut self, line: Line) -> anyhow::Result<()> {
        self.print("notes", line)
    }

    fn billing(&mut self, line: Line) -> anyhow::Result<()> {
        self.print("billing", line)
    }

    fn trail(&mut self, line: Line) -> anyhow::Result<()> {
        self.print("trail", line)
    }

    fn print(&mut self, about: &str, line: Line) -> anyhow::Result<()> {
        let mark = if line.holds && !line.harmful { Mark::Done } else { Mark::Failed };
        let hits = line.hits.map_or_else(
            || if about == "trail" { String::new() } else { "–".into() },
            |hits| hits.to_string(),
        );
        let outcome =
            if line.holds { line.outcome } else { format!("{}, expected {}", line.outcome, line.expected) };
        let text =
            format!("  {} {about:<9}{:<35}{outcome:<47}{hits:>3}", self.output.stdout.mark(mark), line.what);
        self.say(text.trim_end())?;
        self.lines.push(json!({
            "about": about,
            "what": line.what,
            "outcome": outcome,
            "hits": line.hits,
            "proven": line.holds,
        }));
        Ok(())
    }

    fn proven(&self) -> usize {
        self.lines.iter().filter(|line| line["proven"] == true).count()
    }

    fn first_failure(&self) -> Option<String> {
        let failed = self.lines.iter().find(|line| line["proven"] != true)?;
        Some(format!("{} {}", failed["about"].as_str()?, failed["what"].as_str()?))
    }
}

/// Where temporary homes are made.
fn temporary_home(random: [u8; 4]) -> PathBuf {
    let name: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    std::env::temp_dir().join(format!("toolgate-demo-{name}"))
}
