//! What stands between a gateway and its store, as far as it can go wrong. In the product nothing does: what is called
//! here is awaited, and no more. The feature `simulation` lets a test decide what becomes of each step.

#[cfg(not(feature = "simulation"))]
use sqlx::{Error, Sqlite, SqlitePool, pool::PoolConnection};

#[cfg(not(feature = "simulation"))]
use crate::{
    hand::{Number, Suspects},
    sql::Link,
};

/// A step on the way to the store and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A statement that reads, or the beginning of a transaction that does.
    Read,
    /// The beginning of a transaction that writes, or of a statement that is one.
    Write,
    /// Its end. What is between the two happens at one moment, as it does for everybody else.
    Commit,
}

/// What a simulation decides here; nobody simulates.
#[cfg(not(feature = "simulation"))]
pub fn here() -> Option<()> {
    None
}

/// Takes a number that no gateway has ever had.
#[cfg(not(feature = "simulation"))]
pub fn serve(_own: &Number) {}

/// The number of the gateway here, now that it is connected.
#[cfg(not(feature = "simulation"))]
pub fn number(_own: &Number) {}

/// Whether no gateway has this number.
#[cfg(not(feature = "simulation"))]
pub fn is_gone(_number: i64) -> bool {
    false
}

/// Who was gone at the last look.
#[cfg(not(feature = "simulation"))]
pub fn suspects() -> Suspects {
    Suspects::new()
}

#[cfg(not(feature = "simulation"))]
pub fn suspect(_gone: Suspects) {}

/// Takes a step to the store.
#[cfg(not(feature = "simulation"))]
pub async fn step<T, E: From<Error>>(
    _step: Step,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    answer.await
}

/// Waits for a statement within a transaction.
#[cfg(not(feature = "simulation"))]
pub async fn still<T>(answer: impl Future<Output = T>) -> T {
    answer.await
}

/// How many connections there may be.
#[cfg(not(feature = "simulation"))]
pub fn connections(most: u32) -> u32 {
    most
}

/// A connection for one statement.
#[cfg(not(feature = "simulation"))]
pub async fn reader(pool: &SqlitePool) -> Result<PoolConnection<Sqlite>, Error> {
    pool.acquire().await
}

/// Gives it back.
#[cfg(not(feature = "simulation"))]
pub fn give_back(connection: PoolConnection<Sqlite>) {
    drop(connection);
}

/// A connection for several statements.
#[cfg(not(feature = "simulation"))]
pub async fn acquire(pool: &SqlitePool) -> Result<Link<'static, Sqlite>, Error> {
    pool.acquire().await.map(Link::Pooled)
}

/// A transaction that reads.
#[cfg(not(feature = "simulation"))]
pub async fn begin(pool: &SqlitePool) -> Result<Link<'static, Sqlite>, Error> {
    pool.begin().await.map(Link::Transaction)
}

#[cfg(feature = "simulation")]
pub use simulated::{
    Fate, Kept, Reader, Weather, acquire, begin, connections, give_back, here, in_weather, is_gone, number,
    reader, serve, step, still, suspect, suspects,
};

#[cfg(feature = "simulation")]
mod simulated {
    use std::{
        cell::RefCell,
        io,
        pin::pin,
        rc::Rc,
        sync::Arc,
        task::{Context, Poll, Wake, Waker},
        thread::{self, Thread},
        time::Duration,
    };

    use sqlx::{Database, Error, Sqlite, SqlitePool, pool::PoolConnection};

    use super::Step;
    use crate::{
        hand::{Number, Suspects},
        sql::Link,
    };

    /// What becomes of a question to the store, or of its answer.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Fate {
        /// It arrives after so long.
        Arrives(Duration),
        /// It does not, and whoever asked gives up after so long.
        Lost(Duration),
    }

    /// What a simulation decides for one gateway. A file then serves several, each with a number, as a server does.
    pub trait Weather {
        /// What becomes of a question. That of a commit is not delayed: nobody else writes meanwhile.
        fn before(&self, step: Step) -> Fate;
        /// What becomes of the answer; the step was taken.
        fn after(&self, step: Step) -> Fate;
        /// The gateway's number; 0: none.
        fn number(&self) -> i64;
        /// Takes a number that no gateway has ever had.
        fn serve(&self);
        /// Which gateways were gone at its last look, and how often in a row.
        fn suspects(&self) -> &RefCell<Suspects>;
        /// Where its reading connections are kept that nobody uses; as long as the gateway.
        fn readers(&self) -> &RefCell<Vec<Reader>>;
        /// Whether the gateway with that number lives, as far as the store knows.
        fn lives(&self, number: i64) -> bool;
    }

    thread_local! {
        static HERE: RefCell<Option<Rc<dyn Weather>>> = const { RefCell::new(None) };
    }

    /// Runs something in this weather, on this thread.
    pub fn in_weather<T>(weather: Rc<dyn Weather>, run: impl FnOnce() -> T) -> T {
        let before = HERE.replace(Some(weather));
        let done = run();
        HERE.replace(before);
        done
    }

    /// The weather here, while somebody simulates one.
    pub fn here() -> Option<Rc<dyn Weather>> {
        HERE.with_borrow(Clone::clone)
    }

    /// Takes a number that no gateway has ever had.
    pub fn serve(own: &Number) {
        if let Some(weather) = here() {
            weather.serve();
            own.set(weather.number());
        }
    }

    /// The number of the gateway here, now that it is connected.
    pub fn number(own: &Number) {
        if let Some(weather) = here() {
            own.set(weather.number());
        }
    }

    /// Whether no gateway has this number.
    pub fn is_gone(number: i64) -> bool {
        here().is_some_and(|weather| !weather.lives(number))
    }

    /// Who was gone at the last look.
    pub fn suspects() -> Suspects {
        here().map(|weather| weather.suspects().borrow().clone()).unwrap_or_default()
    }

    pub fn suspect(gone: Suspects) {
        if let Some(weather) = here() {
            weather.suspects().replace(gone);
        }
    }

    /// Takes a step to the store, if it arrives.
    pub async fn step<T, E: From<Error>>(
        step: Step,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let Some(fate) = decided(|weather| weather.before(step)) else { return answer.await };
        suffer(fate, step != Step::Commit).await?;
        let answer = still(answer).await?;
        if step != Step::Write
            && let Some(fate) = decided(|weather| weather.after(step))
        {
            suffer(fate, true).await?;
        }
        Ok(answer)
    }

    fn decided(ask: impl FnOnce(&dyn Weather) -> Fate) -> Option<Fate> {
        here().map(|weather| ask(&*weather))
    }

    async fn suffer(fate: Fate, may_wait: bool) -> Result<(), Error> {
        let (wait, arrives) = match fate {
            Fate::Arrives(wait) => (wait, true),
            Fate::Lost(wait) => (wait, false),
        };
        if may_wait && !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        if arrives { Ok(()) } else { Err(Error::Io(io::ErrorKind::ConnectionReset.into())) }
    }

    /// Waits for the database's own thread without giving way to anybody: in a simulation that takes no time.
    pub async fn still<T>(answer: impl Future<Output = T>) -> T {
        if here().is_none() {
            return answer.await;
        }
        // Here waiting must not be rationed: nothing else would be polled meanwhile.
        let mut answer = pin!(tokio::task::unconstrained(answer));
        let waker = Waker::from(Arc::new(Parked(thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            match answer.as_mut().poll(&mut context) {
                Poll::Ready(answer) => return answer,
                Poll::Pending => thread::park(),
            }
        }
    }

    /// So many that nobody ever waits for one to be given back: that happens at some other time in each run.
    pub fn connections(most: u32) -> u32 {
        if here().is_some() { 64 } else { most }
    }

    /// A connection that reads, and whether it is still in a transaction that nobody needs any more.
    pub struct Reader {
        /// The connection.
        pub connection: PoolConnection<Sqlite>,
        transacts: bool,
    }

    /// A connection that reads. A pool asks what comes back whether it still lives, at some other time in each run, and
    /// makes another one meanwhile; so it does not go back.
    pub async fn reader(pool: &SqlitePool) -> Result<PoolConnection<Sqlite>, Error> {
        let kept = here().and_then(|weather| weather.readers().borrow_mut().pop());
        let Some(Reader { mut connection, transacts }) = kept else { return pool.acquire().await };
        if transacts {
            sqlx::query("ROLLBACK").execute(&mut *connection).await?;
        }
        Ok(connection)
    }

    /// Keeps it for who reads next.
    pub fn give_back(connection: PoolConnection<Sqlite>) {
        keep(connection, false);
    }

    fn keep(connection: PoolConnection<Sqlite>, transacts: bool) {
        if let Some(weather) = here() {
            weather.readers().borrow_mut().push(Reader { connection, transacts });
        }
    }

    /// A connection for several statements.
    pub async fn acquire(pool: &SqlitePool) -> Result<Link<'static, Sqlite>, Error> {
        let connection = Some(reader(pool).await?);
        Ok(Link::Kept(Kept { connection, transacts: false, keep }))
    }

    /// A transaction that reads.
    pub async fn begin(pool: &SqlitePool) -> Result<Link<'static, Sqlite>, Error> {
        let mut connection = reader(pool).await?;
        sqlx::query("BEGIN").execute(&mut *connection).await?;
        Ok(Link::Kept(Kept { connection: Some(connection), transacts: true, keep }))
    }

    /// A connection that is kept when this is dropped.
    pub struct Kept<D: Database> {
        connection: Option<PoolConnection<D>>,
        transacts: bool,
        keep: fn(PoolConnection<D>, bool),
    }

    impl<D: Database> Kept<D> {
        #[expect(clippy::expect_used, reason = "it is there until this is dropped")]
        pub fn get(&mut self) -> &mut D::Connection {
            self.connection.as_deref_mut().expect("a connection")
        }
    }

    impl<D: Database> Drop for Kept<D> {
        fn drop(&mut self) {
            if let Some(connection) = self.connection.take() {
                (self.keep)(connection, self.transacts);
            }
        }
    }

    /// A thread that waits.
    struct Parked(Thread);

    impl Wake for Parked {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
}
