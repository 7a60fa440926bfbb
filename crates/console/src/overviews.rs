//! The overviews that were counted last. All consoles look at the same figures, and each looks again at every event: one
//! counts for all of them.

use std::{sync::Arc, time::Duration};

use admin::{AdminError, Overview, Range};
use tokio::sync::Mutex;

use crate::Desk;

/// How long an overview is shown again.
const KEPT: Duration = Duration::from_secs(1);
/// Where more events came meanwhile, nobody can tell its figures from newer ones.
const FEW: u64 = 100;

/// What was counted last, for each range.
#[derive(Default)]
pub struct Overviews([Mutex<Counted>; 3]);

/// When (monotonic), and what.
type Counted = Option<(Duration, Arc<Overview>)>;

impl Desk {
    /// The overview: as it was within the last second, where nothing happened since or very much.
    pub(crate) async fn overview(&self, range: Range) -> Result<Arc<Overview>, AdminError> {
        let [hour, day, week] = &self.overviews.0;
        let place = match range {
            Range::Hour => hour,
            Range::Day => day,
            Range::Week => week,
        };
        // Whoever comes meanwhile waits for the one who counts.
        let mut last = place.lock().await;
        let now = self.clock.now();
        let young = last.as_ref().filter(|(at, _)| now.monotonic.saturating_sub(*at) < KEPT);
        if let Some((_, overview)) = young {
            let newest = u64::try_from(self.admin.newest_event().await?).unwrap_or(0);
            if is_as_good(newest.saturating_sub(overview.events)) {
                return Ok(Arc::clone(overview));
            }
        }
        let overview = Arc::new(self.admin.overview(now.wall, range).await?);
        *last = Some((now.monotonic, Arc::clone(&overview)));
        Ok(overview)
    }
}

/// Whether an overview is as good as a new one when so many events came since.
fn is_as_good(events: u64) -> bool {
    events == 0 || events > FEW
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_call_is_seen_at_once() {
        assert_eq!([0, 1, FEW, FEW + 1].map(is_as_good), [true, false, false, true]);
    }
}
