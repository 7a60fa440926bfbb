//! The one connection that writes, of either database.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use crate::{
    StoreError, postgres,
    sql::{self, Connection},
    sqlite,
    weather::{self, Step},
};

/// Tables with work that a gateway may leave unfinished, and which of their rows are so.
pub const UNFINISHED: [(&str, &str); 2] =
    [("approvals", "status = 'executing'"), ("idempotency", "state = 'in_progress'")];

/// How often in a row a gateway must be found gone until its work is given up: one that was merely cut off, as all are when
/// the server restarts, takes its number back sooner.
const DEAD_AFTER_LOOKS: u8 = 4;

/// The numbers of gateways that were gone at the last look, and how often in a row.
pub type Suspects = HashMap<i64, u8>;

/// The number of the gateway that this process is; 0 while it is none. It is the same as long as the connection lives that
/// writes, and may be another one on the next.
#[derive(Clone, Default)]
pub struct Number(Arc<AtomicI64>);

impl Number {
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    pub fn set(&self, number: i64) {
        self.0.store(number, Ordering::Relaxed);
    }
}

/// The one connection that writes.
pub enum Hand {
    Sqlite(sqlite::Hand),
    Postgres(postgres::Hand),
}

impl Hand {
    /// The connection, for a statement of its own that changes one row: what the trail does not tell of.
    pub async fn connection(&mut self) -> Result<Connection<'_>, StoreError> {
        Ok(match self {
            Self::Sqlite(hand) => {
                weather::step(Step::Write, async { Ok::<_, StoreError>(()) }).await?;
                Connection::from(&mut hand.connection)
            }
            Self::Postgres(hand) => hand.connection().await?,
        })
    }

    /// Begins a transaction that locks out other writers.
    pub async fn begin(&mut self) -> Result<Connection<'_>, StoreError> {
        match self {
            Self::Sqlite(hand) => {
                let number = hand.number.clone();
                let connection = weather::step(Step::Write, hand.begin()).await;
                weather::number(&number);
                connection
            }
            Self::Postgres(hand) => hand.begin().await,
        }
    }

    /// Which gateway claims with this connection. To be read while it is held.
    pub fn number(&self) -> Number {
        match self {
            Self::Sqlite(hand) => hand.number.clone(),
            Self::Postgres(hand) => hand.number(),
        }
    }

    /// Makes this the connection of a gateway. What earlier ones of its number left unfinished is nobody's.
    pub async fn serve(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(hand) if weather::here().is_some() => weather::serve(&hand.number),
            Self::Sqlite(hand) => hand.serve()?,
            Self::Postgres(hand) => hand.serve().await?,
        }
        let number = self.number();
        let mut transaction = self.begin().await?;
        // On a file all gateways had this number.
        give_up(&mut transaction, number.get()).await?;
        Ok(transaction.commit().await?)
    }

    /// Gives what gateways left unfinished that do not live any more to nobody; whether there is anything of nobody's.
    pub async fn disown(&mut self) -> Result<bool, StoreError> {
        match self {
            // There is no other gateway.
            Self::Sqlite(_) if weather::here().is_none() => return Ok(false),
            Self::Sqlite(_) | Self::Postgres(_) => {}
        }
        let own = self.number();
        let suspects = self.suspects();
        let mut transaction = self.begin().await?;
        let (found, suspects) = disown(&mut transaction, own.get(), &suspects).await?;
        transaction.commit().await?;
        self.suspect(suspects);
        Ok(found)
    }

    fn suspects(&self) -> Suspects {
        match self {
            Self::Sqlite(_) => weather::suspects(),
            Self::Postgres(hand) => hand.suspects.clone(),
        }
    }

    fn suspect(&mut self, suspects: Suspects) {
        match self {
            Self::Sqlite(_) => weather::suspect(suspects),
            Self::Postgres(hand) => hand.suspects = suspects,
        }
    }

    /// Whether this gateway is the one that notifies.
    pub async fn is_notifier(&mut self) -> Result<bool, StoreError> {
        match self {
            Self::Sqlite(_) => Ok(true),
            Self::Postgres(hand) => hand.is_notifier().await,
        }
    }

    pub async fn close(self) {
        match self {
            Self::Sqlite(hand) => {
                // Best effort: whatever is committed is safe already.
                let _ = sqlx::Connection::close(hand.connection).await;
            }
            Self::Postgres(hand) => hand.close().await,
        }
    }
}

/// Gives the unfinished work of gateways that do not live any more to nobody; whether there is any of nobody's, and who is
/// suspected by now. `own` lives.
async fn disown(
    transaction: &mut Connection<'_>,
    own: i64,
    suspects: &Suspects,
) -> Result<(bool, Suspects), StoreError> {
    let (mut found, mut others) = (false, Vec::new());
    for (table, unfinished) in UNFINISHED {
        let select = format!("SELECT DISTINCT node FROM {table} WHERE {unfinished} AND node <> $1");
        for row in sql::assembled(select).bind(own).fetch_all(&mut *transaction).await? {
            match row.try_get(0)? {
                // Given up before, and not told yet.
                0 => found = true,
                node => others.push(node),
            }
        }
    }
    others.sort_unstable();
    others.dedup();
    let mut suspected = Suspects::new();
    for node in others {
        let gone = match &transaction {
            Connection::Sqlite(_) => weather::is_gone(node),
            Connection::Postgres(_) => postgres::is_gone(transaction, node).await?,
        };
        let looks = suspects.get(&node).map_or(1, |looks| looks.saturating_add(1));
        if gone && looks >= DEAD_AFTER_LOOKS {
            found |= give_up(transaction, node).await?;
        } else if gone {
            suspected.insert(node, looks);
        }
    }
    Ok((found, suspected))
}

/// Gives what is unfinished under a number to nobody; whether there was any.
async fn give_up(connection: &mut Connection<'_>, number: i64) -> Result<bool, StoreError> {
    let mut found = false;
    for (table, unfinished) in UNFINISHED {
        let update = format!("UPDATE {table} SET node = 0 WHERE {unfinished} AND node = $1");
        found |= sql::assembled(update).bind(number).execute(&mut *connection).await? > 0;
    }
    Ok(found)
}
