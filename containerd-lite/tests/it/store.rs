//! A store of one process: enough of the dialect for a host agent.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use api::Service;
use api::store::StoreClient;
use api::store::endpoints;
use api::store::wire::{
    Bytes, DeleteRangeReply, DeleteRangeRequest, EventType, Header, HeaderReply, Int, KeyValue, LeaseGrantRequest,
    LeaseReply, LeaseRequest, PutReply, PutRequest, RangeReply, RangeRequest, StreamReply, WatchReply, WatchRequest,
};
use os::signal::Shutdown;
use testkit::TempDir;
use types::{ApiError, Code};

type Event = api::store::wire::WatchEvent;

#[derive(Debug, Default)]
struct State {
    revision: i64,
    keys: BTreeMap<Vec<u8>, KeyValue>,
    log: Vec<Event>,
    leases: Vec<i64>,
    last_lease: i64,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    shutdown: Shutdown,
}

pub(crate) struct Store {
    pub(crate) client: StoreClient,
    pub(crate) shutdown: Shutdown,
    folder: TempDir,
}

impl Store {
    pub(crate) fn start() -> Store {
        let folder = TempDir::new("host-store");
        let socket = folder.path().join("store.sock");
        let shutdown = Shutdown::new();
        let shared = Arc::new(Shared { shutdown: shutdown.clone(), ..Shared::default() });
        Service::new(Arc::clone(&shared))
            .on(&endpoints::RANGE, |shared, _, request| Ok(shared.range(&request)))
            .on(&endpoints::PUT, |shared, _, request| shared.put(request))
            .on(&endpoints::DELETE_RANGE, |shared, _, request| Ok(shared.delete(&request)))
            .on(&endpoints::LEASE_GRANT, |shared, _, request| Ok(shared.grant(&request)))
            .on(&endpoints::LEASE_REVOKE, |shared, _, request: LeaseRequest| {
                shared.lose(request.id.0);
                Ok(HeaderReply::default())
            })
            .lines(&endpoints::LEASE_KEEPALIVE, |shared, _, request: LeaseRequest, out| {
                let ttl = if shared.lock().leases.contains(&request.id.0) { Int(60) } else { Int(0) };
                let reply = LeaseReply { id: request.id, ttl, ..LeaseReply::default() };
                out.send(&StreamReply { result: Some(reply), error: None })
            })
            .lines(&endpoints::WATCH, |shared, _, request: WatchRequest, out| {
                let create = request.create_request.unwrap_or_default();
                let mut next = create.start_revision.0;
                while !shared.shutdown.asked() && !out.client_gone() {
                    let events = shared.events(&create.key, &create.range_end, next);
                    if let Some(last) = events.last() {
                        next = last.kv.mod_revision.0 + 1;
                        let reply = WatchReply { events, ..WatchReply::default() };
                        out.send(&StreamReply { result: Some(reply), error: None })?;
                    }
                }
                Ok(())
            })
            .listen(&socket, &shutdown)
            .unwrap();
        Store { client: StoreClient::new(&socket), shutdown, folder }
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("store.sock")
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.shutdown.ask();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn range(&self, request: &RangeRequest) -> RangeReply {
        let state = self.lock();
        let inside = |key: &Vec<u8>| within(key, &request.key, &request.range_end);
        let kvs: Vec<KeyValue> = state.keys.values().filter(|kv| inside(&kv.key.0)).cloned().collect();
        let count = Int(kvs.len().try_into().unwrap());
        RangeReply { header: header(&state), kvs, more: false, count }
    }

    fn put(&self, request: PutRequest) -> Result<PutReply, ApiError> {
        let mut state = self.lock();
        if request.lease.0 != 0 && !state.leases.contains(&request.lease.0) {
            return Err(ApiError::new(Code::Internal, r#"{"code":5,"message":"requested lease not found"}"#));
        }
        state.revision += 1;
        let revision = Int(state.revision);
        let known = state.keys.get(&request.key.0);
        let kv = KeyValue {
            create_revision: known.map_or(revision, |kv| kv.create_revision),
            mod_revision: revision,
            version: Int(known.map_or(1, |kv| kv.version.0 + 1)),
            key: request.key.clone(),
            value: request.value,
            lease: request.lease,
        };
        state.keys.insert(request.key.0, kv.clone());
        state.log.push(Event { r#type: EventType::Put, kv, ..Event::default() });
        self.changed.notify_all();
        Ok(PutReply { header: header(&state), prev_kv: None })
    }

    fn delete(&self, request: &DeleteRangeRequest) -> DeleteRangeReply {
        let mut state = self.lock();
        let gone: Vec<Vec<u8>> =
            state.keys.keys().filter(|key| within(key, &request.key, &request.range_end)).cloned().collect();
        let deleted = Int(gone.len().try_into().unwrap());
        remove(&mut state, &gone);
        self.changed.notify_all();
        DeleteRangeReply { header: header(&state), deleted, prev_kvs: Vec::new() }
    }

    fn grant(&self, request: &LeaseGrantRequest) -> LeaseReply {
        let mut state = self.lock();
        state.last_lease += 1;
        let id = state.last_lease;
        state.leases.push(id);
        LeaseReply { id: Int(id), ttl: request.ttl, ..LeaseReply::default() }
    }

    fn lose(&self, lease: i64) {
        let mut state = self.lock();
        state.leases.retain(|id| *id != lease);
        let gone: Vec<Vec<u8>> =
            state.keys.values().filter(|kv| kv.lease.0 == lease).map(|kv| kv.key.0.clone()).collect();
        remove(&mut state, &gone);
        self.changed.notify_all();
    }

    /// Events at or after `from`; waits a little when there are none.
    fn events(&self, key: &Bytes, end: &Bytes, from: i64) -> Vec<Event> {
        let state = self.lock();
        let fresh = |event: &&Event| event.kv.mod_revision.0 >= from && within(&event.kv.key.0, key, end);
        let none = |state: &mut State| !state.log.iter().any(|event| fresh(&event));
        let (state, _) = self.changed.wait_timeout_while(state, Duration::from_millis(50), none).unwrap();
        state.log.iter().filter(fresh).cloned().collect()
    }
}

fn remove(state: &mut State, keys: &[Vec<u8>]) {
    if keys.is_empty() {
        return;
    }
    state.revision += 1;
    for key in keys {
        state.keys.remove(key);
        let kv = KeyValue { key: Bytes(key.clone()), mod_revision: Int(state.revision), ..KeyValue::default() };
        state.log.push(Event { r#type: EventType::Delete, kv, ..Event::default() });
    }
}

fn within(key: &[u8], first: &Bytes, end: &Bytes) -> bool {
    if end.0.is_empty() { key == first.0 } else { key >= first.0.as_slice() && key < end.0.as_slice() }
}

fn header(state: &State) -> Header {
    Header { revision: Int(state.revision), ..Header::default() }
}
