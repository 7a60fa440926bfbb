//! What the tools of trusted services say about themselves, learned from the lists that pass. A tool that nobody has
//! listed yet is not taken for a mild one.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use domain::{
    names::ServiceName,
    risk::{KeptHints, ToolHint, Weight},
    service::{Service, Upstream},
};
use store::{Store, StoreError};
use tokio::sync::Notify;
use wire::{Raw, json::Kind};

/// The most tools of one service that are remembered; further ones count as not seen.
const TOOLS_MAX: usize = 4_096;
/// The longest name that is remembered (bytes).
const NAME_BYTES_MAX: usize = 256;
/// How long a store that does not answer is left alone.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// What is known about the tools of trusted services. It belongs to a service's upstream: another upstream's tools are
/// others.
pub struct Hints {
    known: ArcSwap<HashMap<ServiceName, Arc<Known>>>,
    /// What the store does not know yet.
    unsaved: Mutex<BTreeSet<ServiceName>>,
    changed: Notify,
}

struct Known {
    upstream: Upstream,
    tools: HashMap<String, ToolHint>,
}

impl Hints {
    /// With what the store has kept about these services.
    #[must_use]
    pub fn new(
        kept: BTreeMap<ServiceName, KeptHints>,
        services: &HashMap<ServiceName, Arc<Service>>,
    ) -> Arc<Self> {
        let known = kept.into_iter().filter_map(|(name, kept)| {
            let upstream = &services.get(&name)?.upstream;
            let is_its_own = upstream.fingerprint() == Some(kept.upstream);
            is_its_own.then(|| (name, Arc::new(Known { upstream: upstream.clone(), tools: kept.tools })))
        });
        let known = ArcSwap::from_pointee(known.collect());
        Arc::new(Self { known, unsaved: Mutex::default(), changed: Notify::new() })
    }

    /// What a tool weighs.
    pub(crate) fn weight(&self, service: &Service, tool: &str) -> Weight {
        if !service.trust_annotations {
            return Weight::Tool;
        }
        let known = self.known.load();
        let known = known.get(&service.name).filter(|known| known.upstream == service.upstream);
        Weight::of_trusted_tool(known.and_then(|known| known.tools.get(tool).copied()))
    }

    /// Takes over what a list of tools says. Later lists win; within one list the stricter of two.
    pub(crate) fn learn(&self, service: &Service, tools: Raw<'_>) {
        if !service.trust_annotations {
            return;
        }
        let mut told: HashMap<String, ToolHint> = HashMap::new();
        for tool in tools.elements() {
            let Some(name) = tool.get("name").and_then(Raw::as_str) else { continue };
            if name.len() <= NAME_BYTES_MAX && told.len() < TOOLS_MAX {
                let hint = hint_of(tool);
                let known = told.entry(name.into_owned()).or_insert(hint);
                *known = hint.max(*known);
            }
        }
        // One at a time, so that no two lists lose each other's tools.
        let mut unsaved = self.lock();
        let known = self.known.load();
        let before = known.get(&service.name).filter(|known| known.upstream == service.upstream);
        let is_news = |(name, hint): (&String, &ToolHint)| {
            before.is_none_or(|known| known.tools.get(name) != Some(hint))
        };
        if !told.iter().any(is_news) {
            return;
        }
        let mut tools = before.map(|known| known.tools.clone()).unwrap_or_default();
        for (name, hint) in told {
            if tools.len() < TOOLS_MAX || tools.contains_key(&name) {
                tools.insert(name, hint);
            }
        }
        let mut all = HashMap::clone(&known);
        all.insert(service.name.clone(), Arc::new(Known { upstream: service.upstream.clone(), tools }));
        self.known.store(Arc::new(all));
        unsaved.insert(service.name.clone());
        drop(unsaved);
        self.changed.notify_one();
    }

    /// Keeps what was learned in the store, as soon as it was. Run it as a task of its own.
    pub async fn run(self: Arc<Self>, store: Arc<Store>) {
        loop {
            self.changed.notified().await;
            while let Err(error) = self.save(&store).await {
                tracing::warn!("what tools say about themselves could not be kept: {error}");
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }

    /// Keeps what was learned since the last time.
    ///
    /// # Errors
    /// [`StoreError`]; what was not kept is tried again with the next call.
    pub async fn save(&self, store: &Store) -> Result<(), StoreError> {
        loop {
            let Some(name) = self.lock().first().cloned() else { return Ok(()) };
            let known = self.known.load().get(&name).cloned();
            if let Some(known) = &known
                && let Some(upstream) = known.upstream.fingerprint()
            {
                let hints = KeptHints { upstream, tools: known.tools.clone() };
                store.keep_tool_hints(&name, &hints).await?;
            }
            // What came meanwhile is still to be kept.
            let mut unsaved = self.lock();
            if self.known.load().get(&name).map(Arc::as_ptr) == known.as_ref().map(Arc::as_ptr) {
                unsaved.remove(&name);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<ServiceName>> {
        self.unsaved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A tool's own word (MCP, `ToolAnnotations`). Only a plain `true` makes it milder, everything but a plain `false` makes
/// it stricter; what is not said is what it is without annotations.
fn hint_of(tool: Raw<'_>) -> ToolHint {
    let annotations = tool.get("annotations");
    let said = |name| annotations.and_then(|annotations| annotations.get(name));
    let destroys = said("destructiveHint")
        .is_some_and(|hint| hint.kind() != Kind::Null && hint.as_bool() != Some(false));
    if destroys {
        ToolHint::Destructive
    } else if said("readOnlyHint").and_then(Raw::as_bool) == Some(true) {
        ToolHint::ReadOnly
    } else {
        ToolHint::Plain
    }
}

#[cfg(test)]
mod tests {
    use domain::service::{HttpUpstream, Network, RefusalForm, UnknownMethods, UpstreamUrl};
    use wire::{Limits, json};

    use super::*;

    fn service(url: &str, trusted: bool) -> Service {
        let url = UpstreamUrl::parse(url).unwrap();
        Service {
            name: ServiceName::parse("files").unwrap(),
            upstream: Upstream::Http(HttpUpstream { url, network: Network::Public, ca_pem: None }),
            unknown_methods: UnknownMethods::Refuse,
            refusals: RefusalForm::Error,
            trust_annotations: trusted,
            pins: domain::service::Pins::Off,
            credentials: Vec::new(),
            documentation: None,
        }
    }

    fn learn(hints: &Hints, service: &Service, tools: &str) {
        hints.learn(service, json::read(tools.as_bytes(), &Limits::of_bytes(tools.len())).unwrap());
    }

    #[test]
    fn a_tool_weighs_what_a_trusted_service_says() {
        let hints = Hints::new(BTreeMap::new(), &HashMap::new());
        let trusted = service("https://a.example/", true);
        assert_eq!(hints.weight(&trusted, "a"), Weight::UnseenTool);
        learn(
            &hints,
            &trusted,
            r#"[{"name":"a","annotations":{"readOnlyHint":true}},
                {"name":"b","annotations":{"destructiveHint":true}},
                {"name":"c"}, {"name":"d","annotations":{"readOnlyHint":"true"}},
                {"name":"e","annotations":{"readOnlyHint":true,"destructiveHint":true}},
                {"name":"f","annotations":{"destructiveHint":"no"}},
                {"name":"g","annotations":{"destructiveHint":false,"readOnlyHint":null}},
                {"name":"h","annotations":[true]},
                {"name":"i","annotations":{"destructiveHint":true}},
                {"name":"i","annotations":{"readOnlyHint":true}},
                {"noname":true}, 7]"#,
        );
        let weights = [
            ("a", Weight::ReadOnlyTool),
            ("b", Weight::DestructiveTool),
            ("c", Weight::Tool),
            ("d", Weight::Tool),
            ("e", Weight::DestructiveTool),
            ("f", Weight::DestructiveTool),
            ("g", Weight::Tool),
            ("h", Weight::Tool),
            ("i", Weight::DestructiveTool),
            ("j", Weight::UnseenTool),
        ];
        for (tool, weight) in weights {
            assert_eq!(hints.weight(&trusted, tool), weight, "{tool}");
        }
        // A later list wins, and takes nothing away that it does not name.
        learn(&hints, &trusted, r#"[{"name":"a","annotations":{"destructiveHint":true}}]"#);
        assert_eq!(hints.weight(&trusted, "a"), Weight::DestructiveTool);
        assert_eq!(hints.weight(&trusted, "c"), Weight::Tool);
    }

    #[test]
    fn nobody_else_is_believed() {
        let hints = Hints::new(BTreeMap::new(), &HashMap::new());
        let mild = r#"[{"name":"a","annotations":{"readOnlyHint":true}}]"#;
        let untrusted = service("https://a.example/", false);
        learn(&hints, &untrusted, mild);
        assert_eq!(hints.weight(&untrusted, "a"), Weight::Tool);
        assert_eq!(hints.weight(&service("https://a.example/", true), "a"), Weight::UnseenTool);
        learn(&hints, &service("https://a.example/", true), mild);
        assert_eq!(hints.weight(&service("https://a.example/", true), "a"), Weight::ReadOnlyTool);
        assert_eq!(hints.weight(&untrusted, "a"), Weight::Tool);
        let moved = service("https://b.example/", true);
        assert_eq!(hints.weight(&moved, "a"), Weight::UnseenTool, "another upstream's tools are others");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let hints = Hints::new(BTreeMap::new(), &HashMap::new());
        let trusted = service("https://a.example/", true);
        for page in 0..3 {
            let tools = (0..2_000).map(|tool| format!("{{\"name\":\"t{page}-{tool}\"}}")).collect::<Vec<_>>();
            learn(&hints, &trusted, &format!("[{}]", tools.join(",")));
        }
        learn(&hints, &trusted, &format!("[{{\"name\":\"{}\"}}]", "x".repeat(NAME_BYTES_MAX + 1)));
        let known = hints.known.load();
        assert_eq!(known.values().next().unwrap().tools.len(), TOOLS_MAX);
        assert_eq!(hints.weight(&trusted, "t0-7"), Weight::Tool);
        assert_eq!(hints.weight(&trusted, "t2-1999"), Weight::UnseenTool);
    }

    #[test]
    fn what_was_kept_counts_for_its_own_upstream() {
        let of = |url: &str| {
            let service = service(url, true);
            let tools = HashMap::from([("a".to_owned(), ToolHint::ReadOnly)]);
            let kept = KeptHints { upstream: service.upstream.fingerprint().unwrap(), tools };
            BTreeMap::from([(service.name, kept)])
        };
        let here = Arc::new(service("https://a.example/", true));
        let services = HashMap::from([(here.name.clone(), Arc::clone(&here))]);
        let hints = Hints::new(of("https://a.example/"), &services);
        assert_eq!(hints.weight(&here, "a"), Weight::ReadOnlyTool);
        let hints = Hints::new(of("https://b.example/"), &services);
        assert_eq!(hints.weight(&here, "a"), Weight::UnseenTool);
    }
}
