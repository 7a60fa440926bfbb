//! Where notifications go: one entry of the setting `notify`.

use std::fmt;

use domain::{audit::push_hex, service::UpstreamUrl};
use sha2::{Digest as _, Sha256};
use store::EventRow;

use super::{notice::Notice, sign::Signer, slack};

/// One receiver of notifications.
pub struct Sink {
    /// Where they are posted. Its path may be a secret.
    pub url: UpstreamUrl,
    /// In what form.
    pub format: Format,
    /// Which ones.
    pub topics: Vec<Topic>,
    /// What signs them.
    pub signer: Option<Signer>,
}

/// The form of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object, for programs (docs/notifications.md).
    Json,
    /// A message of Slack's incoming webhooks, for people.
    Slack,
}

/// What a notification is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// A call was held.
    Held,
    /// A held call was decided.
    Decided,
    /// The kill switch was turned on or off.
    Killed,
}

impl Format {
    /// The words in the settings.
    pub const WORDS: [&str; 2] = ["json", "slack"];

    /// Reads a word of the settings.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Json, Self::Slack].into_iter().find(|format| format.as_str() == word)
    }

    /// The word in the settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Slack => "slack",
        }
    }

    /// The bytes that are posted; the same for the same notice, however often it is tried.
    pub(super) fn body(self, notice: &Notice) -> Vec<u8> {
        let json = match self {
            Self::Json => notice.json(),
            Self::Slack => slack::message(notice),
        };
        json.to_string().into_bytes()
    }
}

impl Topic {
    /// Every topic.
    pub const ALL: [Self; 3] = [Self::Held, Self::Decided, Self::Killed];
    /// The words in the settings.
    pub const WORDS: [&str; 3] = ["held", "decided", "killed"];

    /// Reads a word of the settings.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.as_str() == word)
    }

    /// The word in the settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Decided => "decided",
            Self::Killed => "killed",
        }
    }

    /// What an event of the outbox is about.
    pub(super) fn of(event: &EventRow) -> Self {
        match event.kind.as_str() {
            "held" => Self::Held,
            "decision" => Self::Decided,
            _ => Self::Killed,
        }
    }
}

impl Sink {
    /// What its cursor is kept under: the SHA-256 of its URL, in hex.
    #[must_use]
    pub fn id(&self) -> String {
        let mut id = String::with_capacity(64);
        push_hex(&mut id, &Sha256::digest(self.url.uri().to_string().as_bytes()));
        id
    }

    /// Its URL, as it may be logged.
    #[must_use]
    pub fn shown(&self) -> String {
        shown(&self.url)
    }
}

/// Shows no path and no secret.
impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sink {}", self.format.as_str(), self.shown())
    }
}

/// A receiver's URL for people: whoever knows path and query of such a URL can often post there, so both are masked.
#[must_use]
pub fn shown(url: &UpstreamUrl) -> String {
    let bare = url.uri().path() == "/" && url.uri().query().is_none();
    let origin = match (url.uri().scheme_str(), url.uri().authority()) {
        (Some(scheme), Some(authority)) => format!("{scheme}://{authority}"),
        _ => url.origin(),
    };
    if bare { origin } else { format!("{origin}/…") }
}
