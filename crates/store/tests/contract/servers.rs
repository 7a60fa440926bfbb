//! What a server may not do: take what is meant for somebody else, give tables to others, or have a gateway wait for ever.
//! TLS itself is held against a real Postgres in `crates/toolgate/tests/cluster`.

use std::time::Duration;

use domain::trust::Distrust;
use store::{ServerUrl, Store, StoreError, StoreOptions, Sync};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::world::{World, database, drop_database, options, raw_of, server};

/// More than any bound of the store's, less than for ever.
const FOR_EVER: Duration = Duration::from_secs(120);

#[tokio::test]
async fn that_limits_were_counted_elsewhere_is_remembered() {
    let world = World::new().await;
    assert!(!world.store.has_counted().await.unwrap());
    world.store.set_counted().await.unwrap();
    world.store.set_counted().await.unwrap();
    assert!(world.second().await.has_counted().await.unwrap());
}

/// What a server that has no TLS says to who asks for it; what it was told then.
async fn told_without_tls(listener: TcpListener) -> Vec<u8> {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut told = vec![0; 8];
    stream.read_exact(&mut told).await.unwrap();
    stream.write_all(b"N").await.unwrap();
    stream.read_to_end(&mut told).await.unwrap();
    told
}

#[tokio::test]
async fn a_server_without_tls_learns_that_somebody_knocked_and_nothing_else() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let listening = tokio::spawn(told_without_tls(listener));
    let url = format!("postgres://ada:s3cret@127.0.0.1:{port}/d?sslmode=verify-full");
    let fault = opening(&url).await;
    assert!(matches!(fault, StoreError::Untrusted { why: Distrust::NoTls, .. }), "{fault}");
    assert_eq!(
        fault.to_string(),
        format!(
            "the store's server is not trusted (postgres://ada@127.0.0.1:{port}/d): it speaks no TLS; \
             turn TLS on there, or correct store.url"
        )
    );
    // The length, and the number of an SSLRequest.
    assert_eq!(listening.await.unwrap(), [0, 0, 0, 8, 4, 210, 22, 47]);
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("postgres://ada:s3cret@127.0.0.1:{port}/d");
    let said = tokio::time::timeout(FOR_EVER, opening(&url)).await.expect("an end").to_string();
    assert_eq!(
        said,
        format!(
            "the store did not answer (postgres://ada@127.0.0.1:{port}/d): it does not answer in time; \
             start its server, or correct store.url"
        )
    );
    drop(listener);
    let said = tokio::time::timeout(FOR_EVER, opening(&url)).await.expect("an end").to_string();
    assert!(said.contains(": connection refused; start its server"), "{said}");
}

async fn opening(url: &str) -> StoreError {
    let url = ServerUrl::parse(url).unwrap();
    match Store::open(&options(url, Sync::Os)).await {
        Ok(_) => panic!("it opens"),
        Err(fault) => fault,
    }
}

#[tokio::test]
#[ignore = "SKIPPED: needs Postgres (TOOLGATE_POSTGRES is not set; cargo xtask test sets it)"]
async fn a_user_or_a_database_that_is_not_there_is_told() {
    let server = server().unwrap();
    let (name, _) = database(&server).await;
    let url = |user: &str, database: &str| {
        let (_, host) = server.split_once('?').unwrap();
        format!("postgres://{user}:s3cret@localhost/{database}?{host}")
    };
    for (url, said) in [
        (url("nobody_here", &name), "role \"nobody_here\" does not exist"),
        (url("postgres", "nowhere"), "database \"nowhere\" does not exist"),
    ] {
        let fault = opening(&url).await;
        assert!(matches!(fault, StoreError::NotLetIn { .. }), "{fault:?}");
        let fault = fault.to_string();
        assert!(
            fault.contains(said) && fault.contains("; correct user, password and database in"),
            "{fault}"
        );
        assert!(!fault.contains("s3cret"), "{fault}");
    }
    drop_database(&server, &name);
}

#[tokio::test]
#[ignore = "SKIPPED: needs Postgres (TOOLGATE_POSTGRES is not set; cargo xtask test sets it)"]
async fn a_schema_of_somebody_else_is_not_taken_over() {
    let server = server().unwrap();
    let (name, url) = database(&server).await;
    // Roles are the server's, so they have names that no other test has.
    let [me, bob] = ["me", "bob"].map(|role| format!("{name}_{role}"));
    let mut raw = raw_of(&url.clone().into(), Some((&server, &name))).await;
    for role in [&me, &bob] {
        raw.execute(&format!("CREATE ROLE {role} LOGIN")).await.unwrap();
        raw.execute(&format!("GRANT CREATE ON DATABASE {name} TO {role}")).await.unwrap();
    }
    let (_, host) = server.split_once('?').unwrap();
    let as_role = |role: &str| format!("postgres://{role}@localhost/{name}?{host}");
    let mine = as_role(&me);
    raw.execute(&format!("CREATE SCHEMA toolgate AUTHORIZATION {bob}")).await.unwrap();
    // Not even a superuser's tables go there: bob could take them away.
    for (user, url) in [(me.as_str(), mine.clone()), ("postgres", url_of(&server, &name))] {
        let fault = opening(&url).await;
        assert_eq!(
            fault.to_string(),
            format!(
                "the schema `toolgate` of database `{name}` belongs to `{bob}`, who could change what is in it; \
                 use another database, or: ALTER SCHEMA toolgate OWNER TO \"{user}\""
            )
        );
    }
    raw.execute(&format!("ALTER SCHEMA toolgate OWNER TO {me}")).await.unwrap();
    raw.execute("CREATE VIEW toolgate.audit AS SELECT 1").await.unwrap();
    let fault = opening(&mine).await.to_string();
    assert!(fault.ends_with("holds what is not Toolgate's; use another database"), "{fault}");
    raw.execute("DROP VIEW toolgate.audit").await.unwrap();
    // Empty and ours; then with our tables, whoever made them.
    let open = async |url: &str, create: bool| {
        let all = options(ServerUrl::parse(url).unwrap(), Sync::Os);
        Store::open(&StoreOptions { create: all.create.filter(|_| create), ..all }).await
    };
    open(&mine, true).await.unwrap().close().await;
    let other = as_role(&bob);
    let fault = open(&other, true).await.err().unwrap().to_string();
    assert!(fault.contains("may not be used by this user; name the user that made it"), "{fault}");
    raw.execute(&format!("GRANT USAGE ON SCHEMA toolgate TO {bob}")).await.unwrap();
    raw.execute(&format!("GRANT ALL ON ALL TABLES IN SCHEMA toolgate TO {bob}")).await.unwrap();
    let second = open(&other, true).await.unwrap();
    let check = second.check(&Still).await.unwrap();
    assert_eq!(check.other_owner.as_deref(), Some(me.as_str()), "who examines it is told");
    second.close().await;
    drop(raw);
    drop_database(&server, &name);
    let mut postgres = raw_of(&ServerUrl::parse(&server).unwrap().into(), Some((&server, "postgres"))).await;
    for role in [me, bob] {
        postgres.execute(&format!("DROP ROLE {role}")).await.unwrap();
    }
}

fn url_of(server: &str, name: &str) -> String {
    let (_, host) = server.split_once('?').unwrap();
    format!("postgres://postgres@localhost/{name}?{host}")
}

/// A clock that stands.
struct Still;

impl domain::clock::Clock for Still {
    fn now(&self) -> domain::clock::Now {
        domain::clock::Now { wall: crate::world::moment(0), monotonic: Duration::ZERO }
    }
}

#[tokio::test]
#[ignore = "SKIPPED: needs Postgres (TOOLGATE_POSTGRES is not set; cargo xtask test sets it)"]
async fn nobody_waits_for_ever_for_what_somebody_has_locked() {
    let world = World::new().await;
    let mut raw = world.raw().await;
    raw.execute("BEGIN").await.unwrap();
    raw.execute("LOCK TABLE agents IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let read = tokio::time::timeout(FOR_EVER, world.store.snapshot()).await.expect("an end");
    assert!(read.is_err(), "it could not be read");
    raw.execute("COMMIT").await.unwrap();
    // The lock that writers take is given up too.
    raw.execute("BEGIN").await.unwrap();
    raw.execute("SELECT pg_advisory_xact_lock(8390047142196114533)").await.unwrap();
    let written = tokio::time::timeout(FOR_EVER, world.store.disown_the_dead()).await.expect("an end");
    assert!(written.is_err(), "somebody else was writing");
    raw.execute("ROLLBACK").await.unwrap();
    world.store.snapshot().await.unwrap();
    world.store.disown_the_dead().await.unwrap();
}
