//! One bound for all bodies held in memory at once, whoever they belong to.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use domain::stop::{Fault, Refusal, Stop, Unreadable};
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::flow::{Broken, Flow};

/// What one permit stands for (bytes).
const UNIT: u64 = 1_024;

/// How many bytes of bodies may be held at once.
#[derive(Clone)]
pub struct BodyBudget {
    permits: Arc<Semaphore>,
}

/// A body that is held, and its part of the budget.
pub struct HeldBody {
    bytes: Bytes,
    _part: OwnedSemaphorePermit,
}

impl HeldBody {
    /// The body.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl BodyBudget {
    /// A budget of so many bytes, rounded down to KiB.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let permits = usize::try_from(bytes / UNIT).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { permits: Arc::new(Semaphore::new(permits)) }
    }

    /// Reads a request's body whole, at most `bytes_max` and within `timeout`. Its part of the budget grows with it,
    /// so that whoever announces much and sends little takes little, and is kept until it is dropped.
    ///
    /// # Errors
    /// [`Fault::BodiesFull`] when the budget is spent; [`Refusal::TooLarge`]; [`Unreadable::CutOff`] when the
    /// body breaks off or takes too long.
    pub async fn read(&self, body: Flow, bytes_max: u64, timeout: Duration) -> Result<HeldBody, Stop> {
        if body.size_hint().lower() > bytes_max {
            return Err(Refusal::TooLarge(bytes_max).into());
        }
        match tokio::time::timeout(timeout, self.grow(body, bytes_max)).await {
            Ok(Ok(held)) => Ok(held),
            Ok(Err(Broken::TooLarge(bytes_max))) => Err(Refusal::TooLarge(bytes_max).into()),
            Ok(Err(Broken::Unheld)) => Err(Fault::BodiesFull.into()),
            Ok(Err(_)) | Err(_) => Err(Refusal::Unreadable(Unreadable::CutOff).into()),
        }
    }

    /// Collects the body of an answer, which must end within `timeout`. Its part of the budget grows with it.
    ///
    /// # Errors
    /// [`Fault::AnswerTooLarge`]; [`Fault::UpstreamTimeout`]; [`Fault::UpstreamBroken`] when it breaks off or the
    /// budget is spent.
    pub async fn collect(&self, body: Flow, bytes_max: u64, timeout: Duration) -> Result<HeldBody, Fault> {
        match tokio::time::timeout(timeout, self.grow(body, bytes_max)).await {
            Ok(Ok(held)) => Ok(held),
            Ok(Err(Broken::TooSlow)) | Err(_) => Err(Fault::UpstreamTimeout(timeout)),
            Ok(Err(Broken::TooLarge(bytes_max))) => Err(Fault::AnswerTooLarge(bytes_max)),
            Ok(Err(broken)) => Err(Fault::UpstreamBroken(broken.to_string())),
        }
    }

    async fn grow(&self, mut body: Flow, bytes_max: u64) -> Result<HeldBody, Broken> {
        let none = || Broken::Unheld;
        let mut part = Arc::clone(&self.permits).try_acquire_many_owned(0).map_err(|_| none())?;
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            bytes.extend_from_slice(&data);
            let length = bytes.len() as u64;
            if length > bytes_max {
                return Err(Broken::TooLarge(bytes_max));
            }
            let wanted = usize::try_from(length.div_ceil(UNIT)).unwrap_or(usize::MAX);
            let more = u32::try_from(wanted.saturating_sub(part.num_permits())).unwrap_or(u32::MAX);
            part.merge(Arc::clone(&self.permits).try_acquire_many_owned(more).map_err(|_| none())?);
        }
        Ok(HeldBody { bytes: bytes.freeze(), _part: part })
    }
}

impl From<HeldBody> for Bytes {
    /// The bytes; they keep their part of the budget until the last of them is gone.
    fn from(held: HeldBody) -> Self {
        Self::from_owner(held)
    }
}
impl AsRef<[u8]> for HeldBody {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::StreamBody;

    use super::*;
    use crate::flow::whole;

    #[tokio::test]
    async fn bodies_that_do_not_fit_are_refused_until_there_is_room_again() {
        let budget = BodyBudget::new(4 * UNIT);
        let minute = Duration::from_secs(60);
        let first = budget.read(whole(vec![0; 3_000]), 10_000, minute).await.unwrap();
        assert_eq!(first.bytes().len(), 3_000);
        let second = budget.read(whole(vec![0; 2_000]), 10_000, minute).await;
        assert!(matches!(second, Err(Stop::Fault(Fault::BodiesFull))));
        drop(first);
        assert!(budget.read(whole(vec![0; 2_000]), 10_000, minute).await.is_ok());
        let grown = budget.collect(whole(vec![0; 1_025]), 10_000, minute).await.unwrap();
        let second = budget.collect(whole(vec![0; 2_049]), 10_000, minute).await;
        assert!(matches!(second, Err(Fault::UpstreamBroken(_))), "two of four units are left");
        let bytes = Bytes::from(grown);
        assert!(
            budget.read(whole(vec![0; 2_049]), 10_000, minute).await.is_err(),
            "the bytes are still there"
        );
        drop(bytes);
        assert!(budget.read(whole(vec![0; 4_096]), 10_000, minute).await.is_ok());
        let third = budget.read(whole(vec![0; 2_000]), 1_999, minute).await;
        assert!(matches!(third, Err(Stop::Refused(Refusal::TooLarge(1_999)))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_takes_nothing_and_ends() {
        let budget = BodyBudget::new(4 * UNIT);
        let body = || StreamBody::new(futures_util::stream::pending()).boxed_unsync();
        let minute = Duration::from_secs(60);
        // Each of them may become as large as the whole budget.
        let waiting = [(); 3].map(|()| budget.read(body(), 4_096, minute));
        let all = futures_util::future::join_all(waiting);
        let meanwhile = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            budget.read(whole(vec![0; 4_096]), 4_096, minute).await.is_ok()
        };
        let (ended, there_is_room) = tokio::join!(all, meanwhile);
        assert!(there_is_room);
        for end in ended {
            assert!(matches!(end, Err(Stop::Refused(Refusal::Unreadable(Unreadable::CutOff)))));
        }
    }
}
