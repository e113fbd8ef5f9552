//! The session socket: which key, which app, and the push itself.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use api::controller as controller_api;
use api::endpoint::{Endpoint, Upgrade};
use api::{Client, Service};
use os::signal::Shutdown;
use serde::{Deserialize, Serialize};
use types::app::{App, SshKey};
use types::{ApiError, AppId, AppName, Code, KeyId};

use crate::core::command::Verb;
use crate::{GIT_UID, Options, SESSION_SOCKET, push, spool, sshd};

/// Which key is this? Asked by `authorized-keys`.
pub(crate) const KEY: Endpoint<KeyQuestion, SshKey> = Endpoint::post("/key");
/// May this key do that to this app? Asked by `shell`.
pub(crate) const OPEN: Endpoint<OpenQuestion, Opened> = Endpoint::post("/open");
/// The session has ended. Told by `shell`.
pub(crate) const CLOSE: Endpoint<CloseQuestion, ()> = Endpoint::post("/close");
/// Deploy this. Asked by `hook`; the connection then carries attach frames.
pub(crate) const PUSH: Endpoint<PushQuestion, Upgrade> = Endpoint::post("/push");

/// A public key as sshd gives it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeyQuestion {
    pub(crate) kind: String,
    pub(crate) blob: String,
}

/// What a session wants.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OpenQuestion {
    pub(crate) key: KeyId,
    pub(crate) app: AppName,
    pub(crate) push: bool,
}

/// What a session got.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Opened {
    /// Names the session to [`PUSH`].
    pub(crate) token: String,
    /// The repository.
    pub(crate) repo: PathBuf,
}

/// Which session has ended.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CloseQuestion {
    pub(crate) token: String,
}

/// What the hook wants deployed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PushQuestion {
    pub(crate) token: String,
    pub(crate) commit: String,
    pub(crate) branch: String,
    /// The first line of the commit's message.
    pub(crate) subject: String,
}

/// A session that was let in.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) app: App,
    pub(crate) key: SshKey,
}

/// What the receiver knows. Everything else is the controller's.
pub(crate) struct Receiver {
    pub(crate) options: Options,
    pub(crate) controller: Client,
    pub(crate) host: Client,
    sessions: Mutex<Sessions>,
    pushing: Mutex<BTreeSet<AppId>>,
}

/// Sessions that are remembered. Each is one connection of sshd, whose own limit is lower.
const SESSIONS_MAX: usize = 1_000;

/// How often repositories and spools that nobody needs any more are looked for.
const TIDY_EVERY: Duration = Duration::from_secs(600);

/// The sessions that were let in, by token, each with its number.
#[derive(Debug, Default)]
struct Sessions {
    last: u64,
    open: BTreeMap<String, (u64, Session)>,
}

impl Sessions {
    /// Remember one. When there are too many the oldest goes: it ended without a word.
    fn add(&mut self, token: String, session: Session) {
        if self.open.len() >= SESSIONS_MAX {
            let oldest = self.open.iter().min_by_key(|(_, (number, _))| *number).map(|(token, _)| token.clone());
            oldest.map(|token| self.open.remove(&token));
        }
        self.last += 1;
        self.open.insert(token, (self.last, session));
    }
}

pub(crate) fn run(options: Options, shutdown: &Shutdown) -> Result<(), ApiError> {
    sshd::prepare(&options)?;
    let receiver = Arc::new(Receiver {
        controller: Client::service(&options.run_dir, controller_api::SERVICE),
        host: Client::socket(&api::paths::host_socket(&options.run_dir)),
        sessions: Mutex::default(),
        pushing: Mutex::default(),
        options: options.clone(),
    });
    let (tidied, ending) = (Arc::clone(&receiver), shutdown.clone());
    os::thread::spawn("tidy", move || {
        loop {
            forget_deleted(&tidied);
            forget_spools(&tidied);
            if ending.wait_for(TIDY_EVERY) {
                return;
            }
        }
    })
    .map_err(|error| ApiError::new(Code::Internal, format!("start a thread: {error}")))?;
    let listen = |error: api::serve::ListenError| ApiError::new(Code::Internal, os::text::chain(&error));
    let sessions = Service::new(Arc::clone(&receiver))
        .on(&KEY, |receiver, _, question| receiver.key(&question))
        .on(&OPEN, |receiver, _, question| receiver.open(question))
        .on(&CLOSE, |receiver, _, question| {
            receiver.close(&question.token);
            Ok(())
        })
        .raw(&PUSH, |receiver, _, exchange| {
            let question = exchange.json_body::<PushQuestion>()?;
            let session = receiver.session(&question.token)?;
            let (stream, early) = exchange.upgrade(api::attach::PROTOCOL)?;
            push::serve(receiver, &session, &question, stream, early);
            Ok(())
        })
        .listen(Path::new(SESSION_SOCKET), shutdown)
        .map_err(listen)?;
    // Only processes of this job see the socket; sshd's children among them are not root.
    std::fs::set_permissions(SESSION_SOCKET, std::fs::Permissions::from_mode(0o666))
        .map_err(|error| ApiError::new(Code::Internal, format!("open the session socket: {error}")))?;
    let status: Endpoint<(), serde_json::Value> = Endpoint::get("/.well-known/status");
    let own = Service::new(Arc::clone(&receiver))
        .on(&status, |_, _, ()| Ok(serde_json::json!({ "data": { "status": "healthy" } })))
        .listen(&api::paths::service_socket(&options.run_dir, crate::SERVICE, &options.job), shutdown)
        .map_err(listen)?;
    log::info!(port = options.ssh_port; "git receiver started");
    let ended = sshd::keep_up(options.ssh_port, shutdown);
    shutdown.ask();
    sessions.finish();
    own.finish();
    ended
}

/// Remove the repositories of apps that are gone. A controller that does not answer leaves them all.
fn forget_deleted(receiver: &Receiver) {
    let Ok(apps) = receiver.controller.call(&controller_api::APPS, &[], &()) else { return };
    let known: BTreeSet<String> = apps.into_iter().map(|app| format!("{}.git", app.id)).collect();
    let Ok(entries) = std::fs::read_dir(receiver.options.data_dir.join("repos")) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".git") && !known.contains(&name) {
            log::info!(repository:% = name; "repository of a deleted app removed");
            // What cannot be removed now is tried the next time.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Remove what other jobs of the receiver left, once they are gone.
fn forget_spools(receiver: &Receiver) {
    let Ok(jobs) = receiver.controller.call(&controller_api::ACTIVE_JOBS, &[], &()) else { return };
    let Ok(entries) = std::fs::read_dir(receiver.options.data_dir.join("spool")) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let needed = name == receiver.options.job.as_str() || jobs.iter().any(|job| job.id.as_str() == name);
        if !needed {
            // What cannot be removed now is tried the next time. Earlier versions left files.
            let _ = std::fs::remove_dir_all(entry.path()).or_else(|_| std::fs::remove_file(entry.path()));
        }
    }
}

impl Receiver {
    fn key(&self, question: &KeyQuestion) -> Result<SshKey, ApiError> {
        let blob = data_encoding::BASE64
            .decode(question.blob.as_bytes())
            .map_err(|_| ApiError::invalid("key", "is not base64"))?;
        let sha = <sha2::Sha256 as sha2::Digest>::digest(&blob);
        let fingerprint = format!("SHA256:{}", data_encoding::BASE64_NOPAD.encode(&sha));
        Ok(self.controller.call(&controller_api::KEY, &[&fingerprint], &())?)
    }

    fn open(&self, question: OpenQuestion) -> Result<Opened, ApiError> {
        // Asked again: the key may have been removed since sshd let it in.
        let key = self.controller.call(&controller_api::KEY, &[question.key.as_str()], &()).map_err(|error| {
            if error.is_not_found() { ApiError::not_found("key", question.key.as_str()) } else { error.into() }
        })?;
        let app = self.controller.call(&controller_api::APP, &[question.app.as_str()], &()).map_err(|error| {
            if error.is_not_found() {
                ApiError::not_found("app", question.app.as_str())
                    .hint(format!("make it with `slipway create {}`, or look at `git remote -v`", question.app))
            } else {
                error.into()
            }
        })?;
        if question.push {
            spool::check_disk(&self.options.data_dir)?;
        }
        let repo = self.options.data_dir.join("repos").join(format!("{}.git", app.id));
        let token = os::entropy::secret();
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.add(token.clone(), Session { app, key });
        Ok(Opened { token, repo })
    }

    fn close(&self, token: &str) {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).open.remove(token);
    }

    fn session(&self, token: &str) -> Result<Session, ApiError> {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions
            .open
            .get(token)
            .map(|(_, session)| session.clone())
            .ok_or_else(|| ApiError::new(Code::Forbidden, "this session was not let in"))
    }

    /// The right to push to an app, until it is dropped.
    pub(crate) fn claim(&self, app: &AppId) -> Option<Pushing<'_>> {
        let mut pushing = self.pushing.lock().unwrap_or_else(PoisonError::into_inner);
        pushing.insert(app.clone()).then(|| Pushing { receiver: self, app: app.clone() })
    }
}

/// The right to push to an app.
pub(crate) struct Pushing<'a> {
    receiver: &'a Receiver,
    app: AppId,
}

impl Drop for Pushing<'_> {
    fn drop(&mut self) {
        self.receiver.pushing.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.app);
    }
}

/// What git is told about a repository, by environment: no file of the repository has a say.
pub(crate) fn git_settings(verb: Verb) -> Vec<(String, String)> {
    let pack_max = crate::limits::PACK_BYTES_MAX.to_string();
    let mut settings = vec![
        ("safe.directory", "*"),
        ("core.hooksPath", crate::HOOKS_DIR),
        ("core.fsync", "committed,reference"),
        ("protocol.file.allow", "never"),
        ("gc.auto", "0"),
    ];
    if verb == Verb::ReceivePack {
        settings.extend([
            ("receive.fsckObjects", "true"),
            ("receive.maxInputSize", pack_max.as_str()),
            ("receive.advertisePushOptions", "true"),
            ("receive.shallowUpdate", "true"),
            ("receive.denyDeletes", "false"),
            ("receive.autogc", "false"),
        ]);
    }
    let mut env = vec![("GIT_CONFIG_COUNT".to_owned(), settings.len().to_string())];
    for (at, (key, value)) in settings.into_iter().enumerate() {
        env.push((format!("GIT_CONFIG_KEY_{at}"), key.to_owned()));
        env.push((format!("GIT_CONFIG_VALUE_{at}"), value.to_owned()));
    }
    env.extend([
        ("GIT_CONFIG_NOSYSTEM".to_owned(), "1".to_owned()),
        ("GIT_CONFIG_GLOBAL".to_owned(), "/dev/null".to_owned()),
    ]);
    env
}

const _: () = assert!(GIT_UID > 0, "git never runs as root");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flood_of_sessions_ends_the_oldest_alone() {
        let json = serde_json::json!({ "id": "a1", "name": "blog" });
        let app: App = serde_json::from_value(json).unwrap();
        let json = serde_json::json!({ "id": "0".repeat(64), "fingerprint": "", "public": "" });
        let key: SshKey = serde_json::from_value(json).unwrap();
        let mut sessions = Sessions::default();
        for number in 0..=SESSIONS_MAX {
            sessions.add(number.to_string(), Session { app: app.clone(), key: key.clone() });
        }
        assert_eq!(sessions.open.len(), SESSIONS_MAX);
        assert!(!sessions.open.contains_key("0") && sessions.open.contains_key("1"));
    }
}
