//! A Postgres server of a test's own, on a socket file, that can be stopped, frozen and filled. It flushes: what a gateway
//! was told is durable must be there after the server was killed.

use std::{
    fs,
    net::TcpListener,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, postgres::PgRow};
use tempfile::TempDir;

use super::harness::eventually;

/// Postgres does not run as root; then it runs as this user, `nobody`.
const NOBODY: u32 = 65_534;
/// How many connections the server has for everybody.
const CONNECTIONS: usize = 60;
/// The port that names its socket file, where it listens nowhere else.
const PORT: u16 = 5432;
/// How often a port is chosen: somebody else may take it before the server does.
const PORTS_TRIED: usize = 5;
/// How often a connection is tried for before the test gives up.
const CROWDING_MAX: usize = 3_000;

/// Debian's Postgres below the folder of peers.
#[derive(Clone)]
pub struct Programs {
    folder: PathBuf,
    libraries: PathBuf,
    as_nobody: bool,
}

impl Programs {
    /// Whoever the server must run as must be able to reach them.
    pub fn of(peers: &Path) -> Self {
        let root = peers.join("debian/usr/lib");
        Self {
            folder: root.join("postgresql/15/bin"),
            libraries: root.join(format!("{}-linux-gnu", std::env::consts::ARCH)),
            as_nobody: fs::metadata("/proc/self").unwrap().uid() == 0,
        }
    }

    fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(self.folder.join(program));
        command.env("LD_LIBRARY_PATH", &self.libraries).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if self.as_nobody {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }
}

/// The server and its folder.
pub struct Postgres {
    programs: Programs,
    folder: TempDir,
    process: Option<Child>,
    port: u16,
}

/// What a server shows to whoever wants TLS, and asks of them.
pub struct Tls<'a> {
    /// Certificate and key (PEM); none: it speaks no TLS.
    pub shows: Option<(&'a str, &'a str)>,
    /// The authority (PEM) that must have signed its clients' certificates.
    pub clients: Option<&'a str>,
}

impl Postgres {
    /// A new cluster. It does not run yet.
    pub fn new(programs: &Programs) -> Self {
        let postgres = Self::in_a_folder(programs);
        let mut initdb = programs.command("initdb");
        initdb.args(["--username=postgres", "--auth=trust", "--no-sync", "--encoding=UTF8"]);
        initdb.args(["--locale=C.UTF-8", "--wal-segsize=1", "--pgdata"]).arg(postgres.data());
        assert!(initdb.status().unwrap().success(), "initdb");
        postgres
    }

    /// A server with everything that one which does not run has.
    pub fn like(other: &Self) -> Self {
        assert!(other.process.is_none(), "it runs");
        let postgres = Self::in_a_folder(&other.programs);
        let mut copy = other.programs.command("/bin/cp");
        assert!(copy.arg("-a").arg(other.data()).arg(postgres.data()).status().unwrap().success());
        postgres
    }

    fn in_a_folder(programs: &Programs) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        if programs.as_nobody {
            chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        Self { programs: programs.clone(), folder, process: None, port: PORT }
    }

    /// Starts it, and waits until it answers.
    pub fn start(&mut self) {
        assert!(self.begin(&["listen_addresses="]), "it ended by itself");
    }

    /// Starts it at a port of this machine, which it returns. Whoever comes there must speak TLS, if the server can.
    pub fn start_on_tcp(&mut self, tls: &Tls<'_>) -> u16 {
        let mut settings = vec!["listen_addresses=127.0.0.1"];
        let write = |name: &str, text: &str| {
            let file = self.data().join(name);
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
            if self.programs.as_nobody {
                chown(&file, Some(NOBODY), Some(NOBODY)).unwrap();
            }
        };
        if let Some((certificate, key)) = tls.shows {
            write("server.crt", certificate);
            write("server.key", key);
            settings.push("ssl=on");
        }
        if let Some(clients) = tls.clients {
            write("clients.crt", clients);
            settings.push("ssl_ca_file=clients.crt");
        }
        let how = if tls.shows.is_some() { "hostssl" } else { "host" };
        let who = if tls.clients.is_some() { " clientcert=verify-ca" } else { "" };
        write("pg_hba.conf", &format!("local all all trust\n{how} all all 127.0.0.1/32 trust{who}\n"));
        for _ in 0..PORTS_TRIED {
            self.port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if self.begin(&settings) {
                return self.port;
            }
        }
        panic!("Postgres does not start at any port");
    }

    /// False: it has ended by itself.
    fn begin(&mut self, settings: &[&str]) -> bool {
        assert!(self.process.is_none(), "it runs");
        let mut command = self.programs.command("postgres");
        command.arg("-D").arg(self.data()).arg("-k").arg(self.folder.path());
        command.args(["-p", &self.port.to_string()]);
        let connections = format!("max_connections={CONNECTIONS}");
        let all = [
            &connections,
            "shared_buffers=16MB",
            "full_page_writes=off",
            "jit=off",
            "autovacuum=off",
            "shared_preload_libraries=pg_stat_statements",
        ];
        for setting in all.iter().chain(settings) {
            command.args(["-c", setting]);
        }
        let mut process = command.spawn().unwrap();
        let answers = eventually("Postgres to answer", || match self.try_ask("SELECT 1") {
            Ok(_) => Some(true),
            Err(_) => process.try_wait().unwrap().map(|_| false),
        });
        self.process = answers.then_some(process);
        answers
    }

    /// Starts it as a standby, which follows nobody and only reads.
    pub fn start_as_standby(&mut self) {
        fs::write(self.data().join("standby.signal"), "").unwrap();
        self.start();
        // Only the next start is one.
        fs::remove_file(self.data().join("standby.signal")).unwrap();
    }

    /// Ends it as a crash of its machine would: nothing is finished, nobody is told.
    pub fn crash(&mut self) {
        self.signal(Signal::SIGQUIT);
        self.process.take().unwrap().wait().unwrap();
    }

    /// Ends it as an operator does.
    pub fn stop(&mut self) {
        self.signal(Signal::SIGINT);
        self.process.take().unwrap().wait().unwrap();
    }

    /// All its processes stand still.
    pub fn freeze(&self) {
        // The first one first: who stands still begins no others.
        self.signal(Signal::SIGSTOP);
        self.signal_children(Signal::SIGSTOP);
    }

    /// They go on.
    pub fn thaw(&self) {
        self.signal_children(Signal::SIGCONT);
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        kill(pid(self.process.as_ref().unwrap()), signal).unwrap();
    }

    fn signal_children(&self, signal: Signal) {
        for child in children(self.process.as_ref().unwrap()) {
            // One may have ended meanwhile.
            let _ = kill(child, signal);
        }
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join(format!(".s.PGSQL.{}", self.port))
    }

    /// Its address, past all proxies.
    pub fn url(&self) -> String {
        let (folder, port) = (self.folder.path().display(), self.port);
        format!("postgres://postgres@localhost:{port}/postgres?host={folder}")
    }

    /// Asks it by a connection of the test's own.
    pub fn ask(&self, statement: &str) -> Vec<PgRow> {
        self.try_ask(statement).unwrap()
    }

    fn try_ask(&self, statement: &str) -> Result<Vec<PgRow>, sqlx::Error> {
        runtime().block_on(async {
            let mut connection = PgConnection::connect(&self.url()).await?;
            let rows = sqlx::raw_sql(AssertSqlSafe(statement)).fetch_all(&mut connection).await?;
            connection.close().await?;
            Ok(rows)
        })
    }

    /// Takes every connection that is free, until this is dropped.
    pub fn crowd(&self) -> Crowd {
        let runtime = runtime();
        let connections = runtime.block_on(async {
            let mut taken = Vec::new();
            // Somebody who just left may still have his.
            for _ in 0..CROWDING_MAX {
                match PgConnection::connect(&self.url()).await {
                    Ok(connection) => taken.push(connection),
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
                if taken.len() == CONNECTIONS {
                    return taken;
                }
            }
            panic!("only {} connections were free", taken.len());
        });
        Crowd { _connections: connections, _runtime: runtime }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

/// Connections that nobody uses.
pub struct Crowd {
    _connections: Vec<PgConnection>,
    _runtime: tokio::runtime::Runtime,
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn pid(process: &Child) -> Pid {
    Pid::from_raw(i32::try_from(process.id()).unwrap())
}

/// The server's processes but the first one, which has one thread.
fn children(process: &Child) -> Vec<Pid> {
    let id = process.id();
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    children.split_whitespace().map(|child| Pid::from_raw(child.parse().unwrap())).collect()
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        // What stands still could not end.
        for one in children(&process).into_iter().chain([pid(&process)]) {
            let _ = kill(one, Signal::SIGCONT);
        }
        let _ = kill(pid(&process), Signal::SIGQUIT);
        let _ = process.wait();
    }
}
