//! A temporary home, and the commands that are run on it.

use std::{
    io::{Read as _, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
};

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use super::{Database, Gateway, eventually};

/// A temporary home.
pub struct Home {
    folder: TempDir,
    settings: Vec<String>,
    variables: Vec<(String, String)>,
    cramped: bool,
    program: PathBuf,
    pub(super) keys: Mutex<Vec<String>>,
    database: Option<Database>,
}

/// The program that is tested.
pub fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_toolgate").into()
}

/// An older one, where there is one to hold beside it (`cargo xtask older`).
pub fn older_program() -> Option<PathBuf> {
    std::env::var_os("TOOLGATE_OLDER").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// How a command ended.
pub struct Ran {
    /// Its exit code.
    pub code: i32,
    /// The answer.
    pub stdout: String,
    /// The talk.
    pub stderr: String,
}

impl Home {
    /// A home as `init` makes it, with this policy.
    pub fn new(policy: &str) -> Self {
        let home = Self::empty();
        home.ok(&["init"]);
        home.write("policy.yaml", policy);
        home
    }

    /// The same, with its store in a file wherever others have it: for promises about that file.
    pub fn on_file(policy: &str) -> Self {
        let home = Self::empty_on_file();
        home.ok(&["init"]);
        home.write("policy.yaml", policy);
        home
    }

    /// A folder where no home was made yet, whose store will be in a file.
    pub fn empty_on_file() -> Self {
        Self::empty_with(None)
    }

    /// A folder where no home was made yet.
    pub fn empty() -> Self {
        Self::empty_with(Database::new())
    }

    fn empty_with(database: Option<Database>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings =
            ["gateway", "console"].map(|listener| format!("{listener}.listen=127.0.0.1:0")).to_vec();
        let variables = database.iter().flat_map(Database::variables).collect();
        let (program, keys) = (program(), Mutex::default());
        Self { folder, settings, variables, cramped: false, program, keys, database }
    }

    /// A second home on the same store, with copies of this one's settings, policy and key: what another gateway has that shares
    /// it. Drop it first.
    pub fn beside(&self) -> Self {
        assert!(self.is_on_postgres(), "several gateways need Postgres: set TOOLGATE_POSTGRES");
        let folder = tempfile::tempdir().unwrap();
        for file in ["toolgate.yaml", "policy.yaml", "vault.key"] {
            std::fs::copy(self.path().join(file), folder.path().join(file)).unwrap();
        }
        let (settings, variables) = (self.settings.clone(), self.variables.clone());
        let (program, keys) = (self.program.clone(), Mutex::default());
        Self { folder, settings, variables, cramped: false, program, keys, database: None }
    }

    /// With another program for every command from now on, `serve` among them.
    pub fn run_by(mut self, program: PathBuf) -> Self {
        self.set_program(program);
        self
    }

    pub(super) fn set_program(&mut self, program: PathBuf) {
        self.program = program;
    }

    /// With this setting on the command line of `serve`.
    pub fn set(mut self, setting: &str) -> Self {
        self.settings.push(setting.to_owned());
        self
    }

    /// With a `serve` that may not write larger files than half a megabyte, until it is given room.
    pub fn cramped(mut self) -> Self {
        self.cramped = true;
        self
    }

    /// With these services, each as its declaration.
    pub fn services(self, declarations: &[String]) -> Self {
        self.apply(declarations);
        self
    }

    /// Applies declarations of services.
    pub fn apply(&self, declarations: &[String]) {
        self.write("services.yaml", &format!("services:\n{}", declarations.concat()));
        let file = self.path().join("services.yaml");
        self.ok(&["services", "apply", "-f", file.to_str().unwrap()]);
    }

    /// A new key.
    pub fn key(&self, agent: &str, role: &str, scope: &str) -> String {
        self.key_with(&[agent, "--role", role, "--scope", scope])
    }

    /// A new key, made with these arguments.
    pub fn key_with(&self, arguments: &[&str]) -> String {
        let ran = self.ok(&[&["keys", "create", "--json"], arguments].concat());
        let made: Value = serde_json::from_str(&ran.stdout).unwrap();
        let key = made["key"].as_str().unwrap().to_owned();
        self.remember(&key);
        key
    }

    /// A key that was made elsewhere, and that must not be found here either.
    pub fn remember(&self, key: &str) {
        self.keys.lock().unwrap().push(key.to_owned());
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Its database, where it is one that several gateways can share.
    pub(super) fn database(&self) -> Option<&Database> {
        self.database.as_ref()
    }

    /// Runs statements in its store on one connection, behind everybody's back.
    pub fn edit(&self, statements: &[String]) {
        if let Some(database) = self.database() {
            return database.execute(statements);
        }
        let file = SqliteConnectOptions::new().filename(self.path().join("toolgate.db"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut connection = SqliteConnection::connect_with(&file).await.unwrap();
            for statement in statements {
                connection.execute(sqlx::raw_sql(AssertSqlSafe(statement.clone()))).await.unwrap();
            }
            connection.close().await.unwrap();
        });
    }

    /// Whether its store is in a database: some statements are written differently there.
    pub fn is_on_postgres(&self) -> bool {
        self.database().is_some()
    }

    /// Ends all connections to its database, as a restart of the server does.
    pub fn hang_up(&self) {
        let database = self.database().expect("a database");
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
        database.execute(&[end.to_owned()]);
    }

    /// Where its store is.
    pub fn place(&self) -> store::Place {
        match &self.database {
            Some(database) => database.url().into(),
            None => self.path().join("toolgate.db").into(),
        }
    }

    /// The URL of its store, where it is on a server.
    pub fn store_url(&self) -> Option<String> {
        self.database.as_ref().map(Database::text)
    }

    /// Writes a file of the home.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).unwrap();
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        let output = self.command(arguments).stdin(Stdio::null()).output().unwrap();
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs a command that reads `input`.
    pub fn run_with(&self, arguments: &[&str], input: &[u8]) -> Ran {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        // A command that refuses before it reads closes its end; what it says counts.
        let _ = process.stdin.take().unwrap().write_all(input);
        let output = process.wait_with_output().unwrap();
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Sets a credential's value.
    pub fn credential(&self, service: &str, name: &str, value: &str) {
        let ran = self.run_with(&["credentials", "set", service, name], value.as_bytes());
        assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    }

    /// Runs a command that must succeed.
    pub fn ok(&self, arguments: &[&str]) -> Ran {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {}{}", ran.stdout, ran.stderr);
        ran
    }

    /// `serve` as it would be started here, for tests of starts that fail.
    pub fn try_serve(&self) -> Ran {
        self.try_serve_as(None)
    }

    /// The same as another user, which only root can do.
    pub fn try_serve_as(&self, user: Option<u32>) -> Ran {
        let mut command = self.serving();
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        let mut process = command.spawn().unwrap();
        let status = eventually("the start to fail", || process.try_wait().unwrap());
        let mut ran = Ran { code: status.code().unwrap_or(-1), stdout: String::new(), stderr: String::new() };
        process.stdout.take().unwrap().read_to_string(&mut ran.stdout).unwrap();
        process.stderr.take().unwrap().read_to_string(&mut ran.stderr).unwrap();
        ran
    }

    /// Starts the gateway and waits until it is ready.
    pub fn serve(self) -> Gateway {
        Gateway::start(self)
    }

    /// Starts a gateway whose vault stays sealed.
    pub fn serve_sealed(self) -> Gateway {
        Gateway::start_sealed(self)
    }

    /// With this variable in the environment of every command.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts a command and lets it run.
    pub fn spawn(&self, arguments: &[&str]) -> std::process::Child {
        let mut command = self.command(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Runs a command that reads `input`.
    pub fn feed(&self, arguments: &[&str], input: &str) -> Ran {
        use std::io::Write as _;
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        process.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = process.wait_with_output().unwrap();
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Every event of the trail, oldest first.
    pub fn events(&self) -> Vec<Value> {
        let listed = self.ok(&["audit", "list", "--json", "--limit", "100000"]).stdout;
        listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The events of one call.
    pub fn events_of(&self, call: &str) -> Vec<Value> {
        self.events().into_iter().filter(|event| event["call_id"] == call).collect()
    }

    /// The events of one call, as soon as there are so many.
    pub fn recorded(&self, call: &str, count: usize) -> Vec<Value> {
        let events = eventually("the call to be recorded", || {
            let events = self.events_of(call);
            (events.len() >= count).then_some(events)
        });
        assert_eq!(events.len(), count, "{events:?}");
        events
    }

    /// A command that is ready to be run, or to be sat at.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_by(&self.program, arguments)
    }

    fn command_by(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.arg("--home").arg(self.path()).args(arguments).current_dir(self.path()).env_clear();
        // A secret of ours that no child may see, and the few variables that one needs.
        command.env("OUR_SECRET", "kept from children").env("HOME", self.path()).env("LANG", "C.UTF-8");
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    pub(super) fn serving(&self) -> Command {
        self.serving_by(&self.program)
    }

    pub(super) fn serving_by(&self, program: &Path) -> Command {
        let mut arguments = vec!["serve"];
        for setting in &self.settings {
            arguments.extend(["--set", setting]);
        }
        let mut command = self.command_by(program, &arguments);
        if self.cramped {
            // A program that ignores SIGXFSZ is told of the limit as an error, as it is of a full disk.
            let mut cramped = Command::new("sh");
            cramped.args(["-c", "trap '' XFSZ; ulimit -S -f 1024; exec \"$0\" \"$@\""]);
            cramped.arg(command.get_program()).args(command.get_args()).current_dir(self.path()).env_clear();
            cramped.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
            command = cramped;
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}
