//! A database of its own for a home, where `TOOLGATE_POSTGRES` is the URL of a server (`cargo xtask test` starts one).

use std::str::FromStr as _;

use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, postgres::PgConnectOptions};

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
        run(&server, format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")).unwrap();
        Some(Self { server, name })
    }

    /// What a command of the home is told. The server of the tests does not flush.
    pub fn variables(&self) -> [(String, String); 2] {
        [("TOOLGATE_STORE_URL".into(), self.text()), ("TOOLGATE_AUDIT_SYNC".into(), "os".into())]
    }

    /// Where it is.
    pub fn url(&self) -> store::ServerUrl {
        store::ServerUrl::parse(&self.text()).unwrap()
    }

    fn text(&self) -> String {
        PgConnectOptions::from_str(&self.server).unwrap().database(&self.name).to_url_lossy().to_string()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // Best effort: what is left goes with the server.
        let _ = run(&self.server, format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
    }
}

fn run(server: &str, statement: String) -> Result<(), sqlx::Error> {
    let server = server.to_owned();
    // A test may have an event loop already.
    let running = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut connection = PgConnection::connect(&server).await?;
            sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await.map(|_| ())
        })
    });
    running.join().unwrap()
}
