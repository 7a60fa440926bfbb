//! A database of its own for a home, where `TOOLGATE_POSTGRES` is the URL of a server, and limits that are counted at a Redis
//! server, where `TOOLGATE_REDIS` is the URL of one (`cargo xtask test` and `cargo xtask shared` start both).

use std::{str::FromStr as _, sync::mpsc, thread::JoinHandle};

use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection,
    postgres::PgConnectOptions,
};

/// A database that is dropped with its home.
pub struct Database {
    server: String,
    name: String,
}

impl Database {
    /// A new one; none where homes keep their files.
    pub fn new() -> Option<Self> {
        let server = std::env::var("TOOLGATE_POSTGRES").ok().filter(|url| !url.is_empty())?;
        // A folder has a name that nothing else has.
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().file_name().unwrap().to_str().unwrap().to_lowercase().replace('.', "");
        let name = format!("home_{}_{name}", std::process::id());
        run(&server, vec![format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")]).unwrap();
        Some(Self { server, name })
    }

    /// What a command of the home is told. The server of the tests does not flush. Homes share a Redis server: each counts
    /// under its install. A machine that is too busy to count in time makes no test fail that is about something else.
    pub fn variables(&self) -> Vec<(String, String)> {
        let own = [("TOOLGATE_STORE_URL", self.text()), ("TOOLGATE_AUDIT_SYNC", "os".to_owned())];
        let redis = std::env::var("TOOLGATE_REDIS").ok().filter(|url| !url.is_empty());
        let share = ("TOOLGATE_COUNTERS_ON_LOSS", "share".to_owned());
        let redis = redis.map(|url| [("TOOLGATE_COUNTERS_URL", url), share]);
        own.into_iter()
            .chain(redis.into_iter().flatten())
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    /// Runs statements in it on one connection, behind everybody's back.
    pub fn execute(&self, statements: &[String]) {
        let set = "SET search_path TO toolgate".to_owned();
        run(&self.text(), std::iter::once(&set).chain(statements).cloned().collect()).unwrap();
    }

    /// Runs a statement, says so, and keeps the connection until the other end of `ends` is gone.
    pub fn hold(
        &self,
        statement: &'static str,
        held: mpsc::Sender<()>,
        ends: mpsc::Receiver<()>,
    ) -> JoinHandle<()> {
        let server = self.text();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let connection = runtime.block_on(async {
                let mut connection = PgConnection::connect(&server).await.unwrap();
                sqlx::query(statement).execute(&mut connection).await.unwrap();
                connection
            });
            held.send(()).unwrap();
            let _ = ends.recv();
            runtime.block_on(connection.close()).unwrap();
        })
    }

    /// Where it is.
    pub fn url(&self) -> store::ServerUrl {
        store::ServerUrl::parse(&self.text()).unwrap()
    }

    /// The same as people write it.
    pub fn text(&self) -> String {
        PgConnectOptions::from_str(&self.server).unwrap().database(&self.name).to_url_lossy().to_string()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // Best effort: what is left goes with the server.
        let _ = run(&self.server, vec![format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name)]);
    }
}

fn run(server: &str, statements: Vec<String>) -> Result<(), sqlx::Error> {
    let server = server.to_owned();
    // A test may have an event loop already.
    let running = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut connection = PgConnection::connect(&server).await?;
            for statement in statements {
                connection.execute(sqlx::raw_sql(AssertSqlSafe(statement))).await?;
            }
            Ok(())
        })
    });
    running.join().unwrap()
}
