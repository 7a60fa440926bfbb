//! What every command starts from: where the home is, how to speak, and the state behind it, opened on demand.

use std::{
    ffi::OsString,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use admin::{Actor, Admin};
use anyhow::{Context as _, anyhow, bail};
use domain::{
    clock::{Clock, Now},
    names::RoleName,
    policy::Policy,
    yaml::did_you_mean,
};
use pipeline::clock::SystemClock;
use store::{Birth, Place, Store, StoreError, StoreOptions};
use vault::{Pepper, Vault};

use super::Globals;
use crate::{
    home::Home,
    output::{Invocation, Output},
    settings::{Choices, RootKeySource, Settings, Sources, dotenv_variable},
    unlock::{Unlocked, unlock},
};

/// What every command is handed.
#[derive(Debug)]
pub struct Context {
    /// Where the install lives.
    pub home: Home,
    /// How commands are printed so that they can be pasted.
    pub invocation: Invocation,
    /// How to speak.
    pub output: Output,
    /// What time it is.
    pub clock: SystemClock,
    set: Vec<String>,
    dotenv: Option<String>,
}

/// Larger files of people are refused unread (bytes).
const FILE_MAX: u64 = 1024 * 1024;

impl Context {
    /// Finds the home. Reads `.env`, opens nothing else.
    ///
    /// # Errors
    /// When there is no home to be found.
    pub fn new(globals: &Globals, output: Output, program: Option<&OsString>) -> anyhow::Result<Self> {
        let dotenv = read_dotenv();
        let variable = |name: &str| {
            std::env::var_os(name).or_else(|| Some(dotenv_variable(dotenv.as_deref()?, name)?.into()))
        };
        let home = Home::find(globals.home.clone(), variable)
            .ok_or_else(|| anyhow!("there is no place for a home (HOME is not set); say --home DIR"))?;
        let user_home = std::env::var_os("HOME").map(PathBuf::from);
        let search_path = std::env::var_os("PATH");
        let program = program.cloned().unwrap_or_else(|| "toolgate".into());
        let invocation = Invocation::new(&program, search_path.as_deref(), user_home, &home);
        Ok(Self { home, invocation, output, clock: SystemClock::start(), set: globals.set.clone(), dotenv })
    }

    /// Reads both clocks.
    #[must_use]
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// A variable of the environment, else of `.env`. Empty counts as unset.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name)
            .ok()
            .or_else(|| dotenv_variable(self.dotenv.as_deref()?, name))
            .filter(|value| !value.is_empty())
    }

    /// What every source says about the settings.
    ///
    /// # Errors
    /// The faults of the file with their lines, or one sentence.
    pub fn choices(&self) -> anyhow::Result<Choices> {
        let path = self.home.settings_file();
        let text = read_trusted(&path)?;
        let name = self.invocation.path(&path);
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| {
                Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
            })
            .filter(|(name, _)| name.starts_with("TOOLGATE_"))
            .collect();
        let file = text.as_deref().map(|text| (name.as_str(), text));
        Ok(Sources { file, dotenv: self.dotenv.as_deref(), environment, set: &self.set }.choose()?)
    }

    /// The settings in force.
    ///
    /// # Errors
    /// As [`choices`](Self::choices), when settings do not fit together, and when a server's files cannot be read.
    pub fn settings(&self) -> anyhow::Result<Settings> {
        let mut settings = Settings::build(&self.choices()?, self.home.path())?;
        settings.take_files(read_trusted)?;
        Ok(settings)
    }

    /// Opens the store of a home that `init` has made.
    ///
    /// # Errors
    /// When there is none, this user may not write it, or it cannot be used.
    pub async fn store(&self, settings: &Settings) -> anyhow::Result<Store> {
        self.open_store(settings, None).await
    }

    /// Opens the store, making it when `birth` says what it is to be born with.
    ///
    /// # Errors
    /// As [`store`](Self::store).
    pub async fn open_store(&self, settings: &Settings, birth: Option<Birth>) -> anyhow::Result<Store> {
        if let Place::File(_) = settings.store {
            self.check_writable()?;
        }
        let sync = match settings.audit.sync {
            crate::settings::Sync::Flush => store::Sync::Flush,
            crate::settings::Sync::Os => store::Sync::Os,
        };
        let options = StoreOptions { place: settings.store.clone(), sync, create: birth };
        Store::open(&options).await.map_err(|error| match error {
            StoreError::Missing { .. } => self.no_home(),
            other => other.into(),
        })
    }

    /// The home has no store.
    #[must_use]
    pub fn no_home(&self) -> anyhow::Error {
        let (home, init) = (self.invocation.path(self.home.path()), self.invocation.command("init"));
        // A home whose store is on a server, asked without the setting that says so, must not be given a second store.
        if self.home.settings_file().exists() {
            return anyhow!(
                "this home has no store where `store.url` says ({home}); where it is on a server set TOOLGATE_STORE_URL, for a new one: {init}"
            );
        }
        anyhow!("there is no home ({home}); make one: {init}")
    }

    /// Whether the home has a store: the file, or one on the server.
    ///
    /// # Errors
    /// When the server does not say.
    pub async fn has_store(&self, settings: &Settings) -> anyhow::Result<bool> {
        let place = settings.store.clone();
        if let Place::File(path) = &place {
            return Ok(path.exists());
        }
        match Store::open(&StoreOptions { place, sync: store::Sync::Os, create: None }).await {
            Ok(store) => {
                store.close().await;
                Ok(true)
            }
            Err(StoreError::Missing { .. }) => Ok(false),
            Err(other) => Err(other.into()),
        }
    }

    /// Opens the store, and the desk where changes are made.
    ///
    /// # Errors
    /// As [`store`](Self::store).
    pub async fn desk(&self) -> anyhow::Result<Desk> {
        let settings = self.settings()?;
        Ok(Desk::over(self.store(&settings).await?, &settings))
    }

    /// SQLite reports a folder that is another user's in its own words; these are ours.
    ///
    /// # Errors
    /// Whose folder it is, when this user may not write it; or that it is none.
    pub fn check_writable(&self) -> anyhow::Result<()> {
        use nix::unistd::{AccessFlags, User, access};
        let path = self.home.path();
        let Ok(metadata) = std::fs::metadata(path) else { return Ok(()) };
        if !metadata.is_dir() {
            bail!("the home is no folder ({}); use --home with another", self.invocation.path(path));
        }
        if access(path, AccessFlags::W_OK).is_ok() {
            return Ok(());
        }
        let owner = std::os::unix::fs::MetadataExt::uid(&metadata);
        let owner = match User::from_uid(owner.into()) {
            Ok(Some(user)) => format!("owner `{}`", user.name),
            _ => format!("owner {owner}"),
        };
        bail!(
            "the home cannot be written ({}, {owner}); run as that user, or use --home",
            self.invocation.path(path)
        )
    }

    /// Whether errors are printed with their causes: `telemetry.level: debug`.
    #[must_use]
    pub fn wants_causes(&self) -> bool {
        self.settings().is_ok_and(|settings| settings.telemetry.level == crate::settings::Level::Debug)
    }

    /// The policy in force, when it can be read: what is wrong with it is told by `policy check`.
    #[must_use]
    pub fn policy(&self) -> Option<Policy> {
        let text = read_optional(&self.settings().ok()?.policy_file).ok()??;
        domain::policy::parse("policy.yaml", &text).ok().map(|(policy, _)| policy)
    }

    /// Warns about a role that the policy does not define: whoever has it may do nothing.
    pub fn warn_about_role(&self, role: &RoleName) {
        let Some(policy) = self.policy().filter(|policy| !policy.defines(role.as_str())) else { return };
        let hint = match did_you_mean(role.as_str(), policy.roles().into_iter().map(RoleName::as_str)) {
            Some(near) => format!("; did you mean `{near}`?"),
            None => String::new(),
        };
        self.output.warn(format!("the policy defines no role `{role}`, so it has no rights{hint}"));
    }

    /// Who runs this command, as the trail names them: `os:<user>`.
    #[must_use]
    pub fn actor(&self) -> Actor {
        let id = nix::unistd::getuid();
        let user = nix::unistd::User::from_uid(id).ok().flatten();
        Actor::os_user(&user.map_or_else(|| id.to_string(), |user| user.name))
    }

    /// Runs a future on this thread.
    ///
    /// # Errors
    /// What the future fails with, or when the machine gives no event loop.
    pub fn block_on<T>(&self, future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.context("the machine gives no event loop; check its limits (ulimit -n)")?.block_on(future)
    }
}

/// The text of `.env` in the working directory. It is another program's as often as ours, so one that is a folder,
/// that this user may not read, or that is not text, is as good as none.
fn read_dotenv() -> Option<String> {
    let path = Path::new(".env");
    if !path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() <= FILE_MAX) {
        return None;
    }
    std::fs::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// The desk where changes are made, over an open store.
pub struct Desk {
    /// What an operator may do.
    pub admin: Admin,
    store: Arc<Store>,
    root_key: RootKeySource,
    clock: SystemClock,
}

impl Desk {
    /// A desk over `store`.
    #[must_use]
    pub fn over(store: Store, settings: &Settings) -> Self {
        let store = Arc::new(store);
        let (admin, root_key) = (Admin::new(Arc::clone(&store)), settings.root_key.clone());
        Self { admin, store, root_key, clock: SystemClock::start() }
    }

    /// Opens the pepper that keys are hashed with; only then is the vault's key read.
    ///
    /// # Errors
    /// When there is no vault key, others can read it, or it is another home's.
    pub async fn pepper(&self) -> anyhow::Result<Pepper> {
        Ok(admin::open_pepper(&self.store, &self.vault().await?).await?)
    }

    /// Opens the vault; only then is its root key read.
    ///
    /// # Errors
    /// When there is no root key, others can read it, or it is another home's.
    pub async fn vault(&self) -> anyhow::Result<Vault> {
        match unlock(&self.root_key, &self.store, self.clock.now().wall).await? {
            Unlocked::Open(vault) => Ok(vault),
            Unlocked::Sealed(why) => Err(anyhow!(why)),
        }
    }

    /// The store behind the desk.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Closes the store; its log is copied into its file.
    pub async fn close(self) {
        let Self { admin, store, .. } = self;
        drop(admin);
        if let Some(store) = Arc::into_inner(store) {
            store.close().await;
        }
    }
}

/// The text of a file that decides what is allowed; `None` when there is none.
///
/// # Errors
/// As [`read_optional`], and when every user of the machine may write it: then any agent could decide.
pub fn read_trusted(path: &Path) -> anyhow::Result<Option<String>> {
    use std::os::unix::fs::MetadataExt as _;
    let mode = std::fs::metadata(path).map_or(0, |file| file.mode() & 0o7777);
    if path.is_file() && mode & 0o002 != 0 {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        bail!("others can write {name} (mode {mode:04o}); chmod 644 {}", path.display());
    }
    read_optional(path)
}

/// A file's text; `None` when there is none.
///
/// # Errors
/// One sentence when it is there and cannot be read, is larger than 1 MiB, or is not UTF-8.
pub fn read_optional(path: &Path) -> anyhow::Result<Option<String>> {
    let shown = path.display();
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => {
            return Err(error)
                .with_context(|| format!("a file cannot be read ({shown}); check its owner and mode"));
        }
    };
    let mut bytes = Vec::new();
    if let Err(error) = file.take(FILE_MAX + 1).read_to_end(&mut bytes) {
        return Err(error).with_context(|| format!("a file cannot be read ({shown}); is it a file?"));
    }
    if bytes.len() as u64 > FILE_MAX {
        bail!("a file is larger than 1 MiB ({shown}); this is not what belongs there");
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(_) => bail!("a file is not UTF-8 text ({shown}); save it as UTF-8"),
    }
}
