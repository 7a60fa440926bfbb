//! Somebody at the screen: looks at the store, reads keys, draws, and carries their decisions out.

use admin::ActingOperator;
use domain::clock::Clock as _;

use super::{
    LOOK_EVERY,
    draw::{Size, draw},
    follow::Followed,
    keys::{keys, press},
    model::{Mode, Model, Wish},
    screen::Screen,
};
use crate::commands::{
    Context, Verdict,
    approvals::{decide::after_approval, show::page_of, words},
    context::Desk,
    ends::Ends,
};

pub async fn run(context: &Context, operator: ActingOperator) -> anyhow::Result<Verdict> {
    let desk = context.desk().await?;
    let vault = desk.vault().await?;
    let mut session = Session {
        context,
        model: Model::new(operator.email().clone(), operator.role()),
        followed: Followed::new(context.now().wall),
        operator,
        desk,
        vault,
        size: Size { columns: 0, rows: 0 },
    };
    let mut screen = Screen::enter()?;
    let result = session.sit(&mut screen).await;
    // The terminal comes first: whatever is said next is said on the usual screen.
    drop(screen);
    session.desk.close().await;
    result.map(|()| Verdict::Done)
}

struct Session<'c> {
    context: &'c Context,
    operator: ActingOperator,
    desk: Desk,
    vault: vault::Vault,
    followed: Followed,
    model: Model,
    size: Size,
}

impl Session<'_> {
    async fn sit(&mut self, screen: &mut Screen) -> anyhow::Result<()> {
        let mut ends = Ends::listen_at_terminal()?;
        loop {
            self.look().await;
            self.draw(screen)?;
            tokio::select! {
                typed = screen.typed() => {
                    let Some(typed) = typed else { return Ok(()) };
                    if self.typed(screen, &typed).await? {
                        return Ok(());
                    }
                }
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = ends.next() => return Ok(()),
            }
        }
    }

    /// Looks at the inbox. A store that does not answer is a state of the screen, not an end.
    async fn look(&mut self) {
        let now = self.context.now().wall;
        self.model.age(now);
        match self.followed.look(self.desk.store()).await {
            Ok(found) => {
                self.model.lost = None;
                if let Some(found) = found
                    && let Some(Wish::Load) = self.model.take(found, now)
                {
                    self.load().await;
                }
            }
            Err(_) => {
                self.model.lost.get_or_insert(now);
            }
        }
    }

    fn draw(&mut self, screen: &mut Screen) -> anyhow::Result<()> {
        let size = screen.size();
        let frame = draw(&self.model, self.context.now().wall, size, &self.context.output.stdout);
        screen.draw(frame.lines, size != self.size)?;
        self.size = size;
        // Only what really was on the screen counts as read.
        self.model.drawn(frame.shown, frame.of);
        Ok(())
    }

    /// Does what the keys say, drawing after each: a key is about what was on the screen when it was pressed. Whether
    /// they want to end.
    async fn typed(&mut self, screen: &mut Screen, bytes: &[u8]) -> anyhow::Result<bool> {
        for key in keys(bytes) {
            match press(&mut self.model, key) {
                None => {}
                Some(Wish::Quit) => return Ok(true),
                Some(Wish::Load) => self.load().await,
                Some(Wish::Approve) => self.decide(None).await,
                Some(Wish::Deny(reason)) => self.decide(Some(reason)).await,
            }
            self.draw(screen)?;
        }
        Ok(false)
    }

    async fn load(&mut self) {
        let Some(id) = self.model.chosen else { return };
        let sees = self.model.sees();
        match page_of(self.context, &self.desk, &self.vault, id.as_str(), sees).await {
            Ok(page) => self.model.show(page),
            Err(error) => self.model.page = Some(Err(error.to_string())),
        }
    }

    /// Decides on the page that is shown.
    async fn decide(&mut self, denied: Option<String>) {
        let Some(Ok(page)) = &self.model.page else { return };
        let held = &page.page.approval.held;
        let (admin, now, digest) = (&self.desk.admin, self.context.clock.now().wall, &held.approval_digest);
        let decided = match &denied {
            None => admin.approve(&self.operator, now, &held.id, digest, None).await,
            Some(reason) => admin.deny(&self.operator, now, &held.id, Some(digest), reason).await,
        };
        // Only words depend on it.
        let stopped = admin.kill().await.is_ok_and(|kill| kill.is_some());
        self.model.mode = Mode::Said(match (decided, denied) {
            (Err(error), _) => format!("error: {error}"),
            (Ok(_), Some(reason)) => format!("✓ denied{}", words::because(Some(reason.trim()))),
            (Ok(approval), None) => {
                let progress = words::progress(&approval).map(|progress| format!(", {progress}"));
                let (_, next) = after_approval(self.context, &approval, stopped);
                format!("✓ approved{}; {next}", progress.unwrap_or_default())
            }
        });
    }
}
