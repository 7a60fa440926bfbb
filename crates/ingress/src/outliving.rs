//! A future that outlives who waits for it: polled where it is awaited, and finished on a task of its own once nobody
//! awaits it any more.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::runtime::Handle;

/// What a panic left behind.
pub(crate) type Panicked = Box<dyn Any + Send>;

/// A future that is finished, whoever drops this. A task for each would do the same, and cost two more visits to the
/// scheduler; so only what is abandoned becomes one.
pub(crate) struct Outliving<F>(Option<Pin<Box<F>>>)
where
    F: Future<Output: Send> + Send + 'static;

impl<F> Outliving<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    pub(crate) fn new(future: F) -> Self {
        Self(Some(Box::pin(future)))
    }
}

impl<F> Future for Outliving<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    /// As a task's: a panic ends it and not who waits.
    type Output = Result<F::Output, Panicked>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = &mut self.0 else {
            // Polled after its end, which nobody does.
            return Poll::Pending;
        };
        let ended = match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(output)) => Ok(output),
            Err(panicked) => Err(panicked),
        };
        self.0 = None;
        Poll::Ready(ended)
    }
}

impl<F> Drop for Outliving<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    fn drop(&mut self) {
        // Without a runtime the process is at its end.
        if let (Some(future), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(future);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn it_is_what_it_yields() {
        assert_eq!(Outliving::new(async { 7 }).await.ok(), Some(7));
    }

    #[tokio::test]
    async fn what_is_abandoned_halfway_is_finished() {
        let (go, goes) = oneshot::channel::<()>();
        let (done, is_done) = oneshot::channel();
        let mut abandoned = Outliving::new(async move {
            let _ = goes.await;
            let _ = done.send("finished");
        });
        assert!(
            std::future::poll_fn(|context| {
                Poll::Ready(Pin::new(&mut abandoned).poll(context).is_pending())
            })
            .await
        );
        drop(abandoned);
        go.send(()).unwrap();
        assert_eq!(is_done.await, Ok("finished"));
    }

    #[tokio::test]
    async fn a_panic_ends_it_alone() {
        let panics = Outliving::new(async {
            tokio::task::yield_now().await;
            panic!("on purpose");
        });
        assert!(panics.await.is_err());
    }
}
