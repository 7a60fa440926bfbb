//! The state of the screen: what waits, which one is read, and what is being asked. It touches nothing outside.

use admin::{ApprovalPage, Sees};
use domain::{
    approval::{Approval, Status},
    names::ApprovalId,
    operator::{Email, OperatorRole},
};
use jiff::{SignedDuration, Timestamp};

use super::follow::Found;

/// How long a call that ended stays on the screen.
const ENDED_SHOWN: SignedDuration = SignedDuration::from_secs(60);

/// What is on the screen.
pub struct Model {
    /// Who looks.
    pub operator: Email,
    /// In which role.
    pub role: OperatorRole,
    /// Since when the store does not answer.
    pub lost: Option<Timestamp>,
    /// What waits, the oldest first.
    pub waiting: Vec<Approval>,
    /// What waited here and does so no more, with the moment that this was seen.
    pub ended: Vec<(Timestamp, Approval)>,
    /// The one whose page is shown.
    pub chosen: Option<ApprovalId>,
    /// Its page, or why there is none.
    pub page: Option<Result<Page, String>>,
    /// What is being asked.
    pub mode: Mode,
}

/// The page of the chosen call.
pub struct Page {
    /// What is on it.
    pub page: ApprovalPage,
    /// How many of its lines are above the screen.
    pub scroll: usize,
    /// How many of its lines the screen has shown at once, and how many there are: known once it was drawn.
    pub drawn: (usize, usize),
    /// Whether its end was on the screen.
    pub end_shown: bool,
}

/// What is being asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Nothing.
    Look,
    /// Why it is denied; what was typed so far.
    Reason(String),
    /// Whether they are sure; with a reason it is about denying.
    Sure {
        /// Why it is denied.
        reason: Option<String>,
    },
    /// Nothing; something was said that stays until the next key.
    Said(String),
}

/// What only the outside can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// End.
    Quit,
    /// Load the page of the chosen call.
    Load,
    /// Approve exactly the page that is shown.
    Approve,
    /// Deny it, for this reason.
    Deny(String),
}

impl Model {
    /// An empty screen.
    pub fn new(operator: Email, role: OperatorRole) -> Self {
        let (waiting, ended) = (Vec::new(), Vec::new());
        Self { operator, role, lost: None, waiting, ended, chosen: None, page: None, mode: Mode::Look }
    }

    /// How much this operator may see.
    pub fn sees(&self) -> Sees {
        Sees::of(self.role)
    }

    /// Takes what a look at the inbox found. The page is to be loaded where the chosen call has changed, or another one
    /// is chosen because it waits no more.
    pub fn take(&mut self, found: Found, now: Timestamp) -> Option<Wish> {
        let was_waiting = |id| self.waiting.iter().any(|approval| approval.held.id == id);
        for approval in &found.changed {
            let id = approval.held.id;
            let known = self.ended.iter().position(|(_, ended)| ended.held.id == id);
            match known.and_then(|place| self.ended.get_mut(place)) {
                Some((_, ended)) => *ended = approval.clone(),
                None if approval.status != Status::Pending && was_waiting(id) => {
                    self.ended.push((now, approval.clone()));
                }
                None => {}
            }
        }
        let place = self.place();
        let changed = found.changed.iter().any(|approval| Some(approval.held.id) == self.chosen);
        self.waiting = found.waiting;
        if self.place().is_some() {
            return changed.then_some(Wish::Load);
        }
        let gone = self.chosen.take();
        if gone.is_some() && matches!(self.mode, Mode::Reason(_) | Mode::Sure { .. }) {
            self.mode = Mode::Said("somebody else was quicker; nothing was decided here".to_owned());
        }
        self.page = None;
        let next = place.unwrap_or(0).min(self.waiting.len().saturating_sub(1));
        self.chosen = self.waiting.get(next).map(|approval| approval.held.id);
        self.chosen.is_some().then_some(Wish::Load)
    }

    /// Forgets what ended a while ago; whether there was something.
    pub fn age(&mut self, now: Timestamp) -> bool {
        let before = self.ended.len();
        self.ended.retain(|(at, _)| now.duration_since(*at) < ENDED_SHOWN);
        self.ended.len() < before
    }

    /// Takes the page of the chosen call. Its place on the screen stays, where it is about the same call.
    pub fn show(&mut self, page: ApprovalPage) {
        let (scroll, drawn, end_shown) = match &self.page {
            Some(Ok(old)) if old.page.approval.held == page.approval.held && old.page.call == page.call => {
                (old.scroll, old.drawn, old.end_shown)
            }
            _ => (0, (0, 0), false),
        };
        self.page = Some(Ok(Page { page, scroll, drawn, end_shown }));
    }

    /// Notes what a drawing has shown of the page.
    pub fn drawn(&mut self, shown: usize, of: usize) {
        if let Some(Ok(page)) = &mut self.page {
            page.drawn = (shown, of);
            page.scroll = page.scroll.min(of.saturating_sub(shown));
            page.end_shown |= shown > 0 && page.scroll + shown >= of;
        }
    }

    /// Chooses the next call, or the one before.
    pub fn choose(&mut self, step: isize) -> Option<Wish> {
        let place = self.place()?.checked_add_signed(step)?;
        let id = self.waiting.get(place)?.held.id;
        (self.chosen, self.page) = (Some(id), None);
        Some(Wish::Load)
    }

    /// Scrolls the page; a line of what was shown stays.
    pub fn scroll(&mut self, pages: isize) {
        if let Some(Ok(page)) = &mut self.page {
            let (shown, of) = page.drawn;
            let step = isize::try_from(shown.saturating_sub(1).max(1)).unwrap_or(1).saturating_mul(pages);
            page.scroll = page.scroll.saturating_add_signed(step).min(of.saturating_sub(shown));
        }
    }

    /// Begins to ask, where a decision can be made.
    pub fn begin(&mut self, mode: Mode) {
        self.mode = match &self.page {
            _ if !self.role.may_decide() => {
                Mode::Said(format!("{} is a viewer and may not decide", self.operator))
            }
            None => Mode::Said("nothing is chosen".to_owned()),
            Some(Err(_)) => Mode::Said("nobody can decide on what they cannot see".to_owned()),
            Some(Ok(page)) if !page.end_shown => {
                Mode::Said("read it to its end first: space scrolls".to_owned())
            }
            Some(Ok(_)) => mode,
        };
    }

    fn place(&self) -> Option<usize> {
        self.waiting.iter().position(|approval| Some(approval.held.id) == self.chosen)
    }
}
