use std::sync::Arc;

use api::objects::SETTINGS;
use api::store::StoreClient;
use os::signal::Shutdown;
use testkit::{TempDir, wait_until};
use types::app::{Map, Release};

use super::*;
use crate::events::Hub;
use crate::persist::Writer;

/// A store and a blob store in a folder, and a controller that nobody serves.
struct Fixture {
    controller: Controller,
    shutdown: Shutdown,
    blobs: Option<std::thread::JoinHandle<()>>,
    listening: Option<api::serve::Listening>,
    replica: Option<consensus::Replica>,
    _dir: TempDir,
}

impl Fixture {
    fn new() -> Fixture {
        let dir = TempDir::new("ctl-gc");
        let shutdown = Shutdown::new();
        let replica = consensus::Replica::open(consensus::Options::new(&dir.path().join("store"), "one")).unwrap();
        let socket = api::paths::store_socket(dir.path());
        let listening = replica.serve(&socket, &shutdown).unwrap();
        let options = blobs::Options {
            dir: dir.path().join("blobs"),
            socket: api::paths::service_socket(dir.path(), api::blobs::SERVICE, &"h1-00000000-b".parse().unwrap()),
        };
        let (stop, limits) = (shutdown.clone(), blobs::Limits { reserve_bytes: 0, ..blobs::Limits::STANDARD });
        let role = os::thread::spawn("blobs", move || blobs::run_within(options, limits, &stop).unwrap()).unwrap();
        let store = StoreClient::new(&socket);
        let controller = Controller {
            writer: Arc::new(Writer::new(store.clone())),
            hub: Arc::new(Hub::default()),
            store,
            run_dir: dir.path().into(),
            domain: "example.org".into(),
            job: "h1-00000000-c".parse().unwrap(),
            version: String::new(),
            shutdown: shutdown.clone(),
        };
        wait_until("the store", Duration::from_secs(20), || SETTINGS.list(&controller.store, &[]).ok());
        wait_until("the blobs", Duration::from_secs(20), || BlobClient::service(&controller.run_dir).list(None).ok());
        Fixture {
            controller,
            shutdown,
            blobs: Some(role),
            listening: Some(listening),
            replica: Some(replica),
            _dir: dir,
        }
    }

    fn store(&self) -> &StoreClient {
        &self.controller.store
    }

    /// An artifact of that age over a stack layer and its own slug, which is in the blob store.
    fn artifact(&self, id: &str, content: &[u8], age: Duration) -> Artifact {
        use sha2::Digest as _;
        let slug = Digest::parse(&data_encoding::HEXLOWER.encode(&sha2::Sha256::digest(content))).unwrap();
        BlobClient::service(&self.controller.run_dir).put(&slug, &mut &*content).unwrap();
        let age = u64::try_from(age.as_millis()).unwrap();
        let artifact = Artifact {
            id: id.parse().unwrap(),
            kind: ArtifactKind::Slug,
            layers: vec![Digest::parse(&"a".repeat(64)).unwrap(), slug],
            size: 1,
            meta: Map::new(),
            created_at: Some(WallTime::from_unix_millis(os::clock::wall().unix_millis() - age).to_string()),
        };
        ARTIFACTS.put(self.store(), &[id], &artifact, None).unwrap();
        artifact
    }

    fn release(&self, artifact: &Artifact) {
        let release = Release {
            id: "r1".parse().unwrap(),
            app_id: "a1".parse().unwrap(),
            artifacts: vec![artifact.id.clone()],
            env: Map::new(),
            meta: Map::new(),
            processes: BTreeMap::new(),
            version: 1,
            description: String::new(),
            created_at: None,
        };
        RELEASES.put(self.store(), &["r1"], &release, None).unwrap();
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.shutdown.ask();
        let _ = self.blobs.take().unwrap().join();
        self.listening.take().unwrap().finish();
        self.replica.take().unwrap().close();
    }
}

#[test]
fn mark_spares_what_is_used_young_or_shared() {
    let fixture = Fixture::new();
    let old = ARTIFACT_GRACE * 2;
    let used = fixture.artifact("used", b"used", old);
    fixture.release(&used);
    fixture.artifact("shares", b"used", old);
    fixture.artifact("young", b"young", Duration::ZERO);
    let gone = fixture.artifact("gone", b"gone", old);
    mark(&fixture.controller).unwrap();
    let left: Vec<String> = ARTIFACTS.list(fixture.store(), &[]).unwrap().0.into_iter().map(|row| row.id).collect();
    assert_eq!(left, ["used", "young"]);
    let garbage: Vec<String> = GARBAGE.list(fixture.store(), &[]).unwrap().0.into_iter().map(|row| row.id).collect();
    assert_eq!(garbage, [gone.layers[1].to_string()], "neither the stack's layer nor the shared slug");
}

#[test]
fn slug_goes_after_its_grace_and_only_when_it_is_as_old() {
    let fixture = Fixture::new();
    let slug = fixture.artifact("gone", b"gone", ARTIFACT_GRACE * 2).layers[1].clone();
    let blobs = BlobClient::service(&fixture.controller.run_dir);
    mark(&fixture.controller).unwrap();
    remove_slugs(&fixture.controller).unwrap();
    assert!(blobs.stat(&slug).unwrap().is_some(), "the grace is not over");
    GARBAGE.put(fixture.store(), &[slug.as_str()], &1, None).unwrap();
    remove_slugs(&fixture.controller).unwrap();
    assert!(blobs.stat(&slug).unwrap().is_some(), "it was stored again since");
    assert!(GARBAGE.list(fixture.store(), &[]).unwrap().0.is_empty());
}

#[test]
fn events_are_kept_up_to_their_number() {
    let fixture = Fixture::new();
    let total = EVENTS_MAX + EVENTS_SLACK + 1;
    for first in (0..total).step_by(100) {
        let txn = (first..total.min(first + 100)).fold(Txn::new(), |txn, id| {
            let event = types::app::Event {
                id: id as u64,
                app: None,
                object_type: "app".into(),
                object_id: "x".into(),
                data: "{}".into(),
                created_at: None,
            };
            EVENTS.put_in(txn, &[&crate::persist::event_key(id as u64)], &event)
        });
        fixture.store().txn(txn, Repeat::Harmless).unwrap();
    }
    trim_events(fixture.store()).unwrap();
    let (rows, _) = EVENTS.list(fixture.store(), &[]).unwrap();
    assert_eq!((rows.len(), rows[0].value.id), (EVENTS_MAX, (total - EVENTS_MAX) as u64));
}

#[test]
fn removal_that_was_cut_off_is_ended() {
    let fixture = Fixture::new();
    let app = types::app::App {
        id: "a1".parse().unwrap(),
        name: "blog".parse().unwrap(),
        meta: Map::new(),
        strategy: types::app::Strategy::default(),
        release: None,
        deploy_timeout: 1,
        created_at: None,
        updated_at: None,
    };
    let store = fixture.store();
    DELETING.put(store, &["a1"], &app, None).unwrap();
    api::objects::APP_NAMES.put(store, &["blog"], &app.id, None).unwrap();
    api::objects::SERVICES.put(store, &["blog-web"], &app.id, None).unwrap();
    fixture.release(&fixture.artifact("used", b"used", Duration::ZERO));
    end_removals(&fixture.controller).unwrap();
    assert!(DELETING.list(store, &[]).unwrap().0.is_empty() && RELEASES.list(store, &[]).unwrap().0.is_empty());
    for prefix in ["objects/app-names/", "objects/services/"] {
        assert!(store.list(prefix).unwrap().records.is_empty(), "{prefix}");
    }
}
