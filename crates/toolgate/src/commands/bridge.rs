//! `toolgate bridge [SERVICE]`: a stdio MCP server that forwards every message to the gateway over HTTP.
//! It holds no credential, opens no store and judges nothing; the bytes of messages pass as they are.

mod gateway;
mod lines;
mod mirror;
mod session;
mod trouble;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use bytes::Bytes;
use clap::Args;
use domain::{address::is_this_machine, names::ServiceName, service::UpstreamUrl};
use tokio::task::{AbortHandle, JoinSet};
use wire::{
    json::Limits,
    jsonrpc::{Message, Shape},
};

use self::{
    gateway::Gateway,
    lines::{Answers, Line, MESSAGE_BYTES_MAX},
    trouble::Trouble,
};
use super::{Verdict, ends::Ends};
use crate::output::{Output, escape_foreign};

/// Where the gateway is when nobody says so.
const DEFAULT_URL: &str = "http://127.0.0.1:8484";
/// How long requests that still run may take to end after the client has closed stdin.
const LAST_ANSWERS: Duration = Duration::from_secs(60);
/// How long the session's end may take.
const GOODBYE: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub struct Options {
    #[arg(value_name = "SERVICE")]
    service: Option<ServiceName>,
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

/// Serves stdin and stdout until stdin ends or a signal comes.
///
/// The environment only is asked for key and address, never `.env`: clients start this in the folders of
/// whatever project is open, and a file there must not choose where the key is sent.
///
/// # Errors
/// When the machine gives no event loop.
pub fn run(options: &Options, output: &Output) -> anyhow::Result<Verdict> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let url = options.url.clone().or_else(|| variable("TOOLGATE_URL"));
    let url = url.unwrap_or_else(|| DEFAULT_URL.to_owned());
    if let Some(host) = sends_in_the_clear(&url) {
        output.warn(format!(
            "the key goes to {host} unencrypted; use https:// for a gateway on another machine"
        ));
    }
    let gateway = Gateway::new(&url, options.service.as_ref(), variable("TOOLGATE_KEY").as_deref());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("the machine gives no event loop; check its limits (ulimit -n)")?;
    runtime.block_on(serve(gateway, *output))?;
    Ok(Verdict::Done)
}

/// The host that anybody on the way to could read the key for.
fn sends_in_the_clear(url: &str) -> Option<String> {
    let url = UpstreamUrl::parse(url).ok().filter(|url| !url.is_tls())?;
    (!is_this_machine(url.host())).then(|| escape_foreign(url.host()).into_owned())
}

async fn serve(gateway: Result<Gateway, Trouble>, output: Output) -> anyhow::Result<()> {
    let (answers, writer) = lines::write_stdout();
    let mut incoming = lines::read_stdin();
    let mut ends = Ends::listen()?;
    let bridge = Arc::new(Bridge { gateway, answers, output, complained: Mutex::default() });
    let mut running = Running::default();

    let ended_by_client = loop {
        tokio::select! {
            line = incoming.recv() => match line {
                Some(line) => bridge.take(line, &mut running).await,
                None => break true,
            },
            Some(_) = running.tasks.join_next() => {}
            () = bridge.answers.closed() => break false,
            () = ends.next() => break false,
        }
    };
    if ended_by_client {
        running.stop_endless();
        let drained = async { while running.tasks.join_next().await.is_some() {} };
        tokio::select! {
            _ = tokio::time::timeout(LAST_ANSWERS, drained) => {}
            () = bridge.answers.closed() => {}
            () = ends.next() => {}
        }
    }
    running.tasks.abort_all();
    if let Ok(gateway) = &bridge.gateway {
        // An upstream that does not hear of the end finds out by itself.
        let _ = tokio::time::timeout(GOODBYE, gateway.end()).await;
    }
    while running.tasks.join_next().await.is_some() {}
    drop(bridge);
    writer.finish();
    Ok(())
}

/// What all messages share.
struct Bridge {
    /// The gateway, or why there is none: then every request is answered with that.
    gateway: Result<Gateway, Trouble>,
    answers: Answers,
    output: Output,
    /// The last complaint on stderr, so that one cause is told once.
    complained: Mutex<Option<String>>,
}

/// The requests on their way.
#[derive(Default)]
struct Running {
    tasks: JoinSet<()>,
    /// Requests of the modern era by the text of their id: cancelling one means closing its stream.
    modern: HashMap<String, (AbortHandle, bool)>,
}

impl Running {
    /// Stops what would never end by itself: subscriptions, and the stream of the server's own messages.
    fn stop_endless(&mut self) {
        for (task, endless) in self.modern.values() {
            if *endless {
                task.abort();
            }
        }
    }
}

impl Bridge {
    async fn take(self: &Arc<Self>, line: Line, running: &mut Running) {
        let body = match line {
            Line::Message(body) => body,
            Line::TooLong => return self.fail(None, &Trouble::TooLarge).await,
        };
        let limits = Limits { bytes: MESSAGE_BYTES_MAX, depth: Limits::DEFAULT_DEPTH };
        let Ok(message) = Message::read(body.clone(), &limits) else {
            // The gateway says what is wrong with it, and records that.
            let bridge = Arc::clone(self);
            running.tasks.spawn(async move { bridge.forward_unread(body).await });
            return;
        };
        let gateway = match &self.gateway {
            Ok(gateway) => gateway,
            // Only requests are answered (JSON-RPC 2.0 §4.1).
            Err(trouble) => match message.shape() {
                Shape::Request { id, .. } => return self.fail(Some(id.text().to_owned()), trouble).await,
                _ => return self.complain(trouble),
            },
        };
        match message.shape() {
            Shape::Request { method: "initialize", .. } => {
                // What comes next needs the session that the answer names.
                self.request(&message).await;
            }
            Shape::Request { id, method } => {
                let (id, endless) = (id.text().to_owned(), method == "subscriptions/listen");
                let is_modern = gateway.notice_era(&message);
                let bridge = Arc::clone(self);
                let task = running.tasks.spawn(async move { bridge.request(&message).await });
                running.modern.retain(|_, (task, _)| !task.is_finished());
                if is_modern {
                    running.modern.insert(id, (task, endless));
                }
            }
            Shape::Notification { method: "notifications/initialized" } => {
                if self.notify(&message).await {
                    self.listen(running);
                }
            }
            Shape::Notification { method: "notifications/cancelled" } => {
                let id = message.params().and_then(|params| params.get("requestId"));
                match id.and_then(|id| running.modern.remove(id.text())) {
                    Some((task, _)) => task.abort(),
                    None => self.spawn_notify(message, running),
                }
            }
            Shape::Notification { .. } | Shape::Response { .. } => self.spawn_notify(message, running),
        }
    }

    fn spawn_notify(self: &Arc<Self>, message: Message, running: &mut Running) {
        let bridge = Arc::clone(self);
        running.tasks.spawn(async move {
            bridge.notify(&message).await;
        });
    }

    /// Opens the stream for what the server says by itself.
    fn listen(self: &Arc<Self>, running: &mut Running) {
        let bridge = Arc::clone(self);
        let task = running.tasks.spawn(async move {
            if let Ok(gateway) = &bridge.gateway {
                gateway.listen(&bridge.answers).await;
            }
        });
        // No id of a client looks like this, so nothing but the end of stdin stops it.
        running.modern.insert("the server's own stream".to_owned(), (task, true));
    }

    /// Forwards a request and everything that is answered.
    async fn request(&self, message: &Message) {
        let Ok(gateway) = &self.gateway else { return };
        match gateway.request(message, &self.answers).await {
            Ok(()) => self.recovered(),
            Err(trouble) => self.fail(message.id().map(|id| id.text().to_owned()), &trouble).await,
        }
    }

    /// Forwards a message that has no answer. Whether it was taken.
    async fn notify(&self, message: &Message) -> bool {
        let Ok(gateway) = &self.gateway else { return false };
        match gateway.notify(message).await {
            Ok(()) => {
                self.recovered();
                true
            }
            Err(trouble) => {
                self.complain(&trouble);
                false
            }
        }
    }

    async fn forward_unread(&self, body: Bytes) {
        let sent = match &self.gateway {
            Ok(gateway) => gateway.forward_unread(body, &self.answers).await,
            Err(trouble) => Err(trouble.clone()),
        };
        if let Err(trouble) = sent {
            self.fail(None, &trouble).await;
        }
    }

    /// Tells both sides: stderr, which clients hide, and whoever waits for an answer.
    async fn fail(&self, id: Option<String>, trouble: &Trouble) {
        self.complain(trouble);
        self.answers.send(trouble.answer(id.as_deref())).await;
    }

    fn complain(&self, trouble: &Trouble) {
        let text = format!("error: {trouble}");
        let mut last = self.complained.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref() != Some(&text) {
            self.output.complain(&text);
            *last = Some(text);
        }
    }

    fn recovered(&self) {
        *self.complained.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
