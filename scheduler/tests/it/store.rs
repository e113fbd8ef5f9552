//! A store of keys in memory behind the store's API: what `StoreClient` uses of it. Leases end when a test says so.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use api::serve::{LineWriter, Listening, Service};
use api::store::endpoints::{DELETE_RANGE, LEASE_GRANT, LEASE_KEEPALIVE, LEASE_REVOKE, PUT, RANGE, TXN, WATCH};
use api::store::wire::{
    Bytes, Compare, CompareResult, CompareTarget, DeleteRangeReply, EventType, Header, HeaderReply, Int, KeyValue,
    LeaseReply, PutReply, PutRequest, RangeReply, RangeRequest, StreamReply, TxnReply, TxnRequest, WatchEvent,
    WatchReply, WatchRequest,
};
use os::signal::Shutdown;
use types::{ApiError, Code};

#[derive(Default)]
struct Keys {
    revision: i64,
    keys: BTreeMap<Vec<u8>, KeyValue>,
    log: Vec<WatchEvent>,
    granted: i64,
    leases: Vec<i64>,
}

pub(crate) struct MemoryStore {
    keys: Mutex<Keys>,
    changed: Condvar,
    shutdown: Shutdown,
}

impl MemoryStore {
    /// Serve an empty store on `socket`.
    pub(crate) fn serve(socket: &Path, shutdown: &Shutdown) -> (Arc<MemoryStore>, Listening) {
        let keys = Keys { revision: 1, ..Keys::default() };
        let store =
            Arc::new(MemoryStore { keys: Mutex::new(keys), changed: Condvar::new(), shutdown: shutdown.clone() });
        let listening = Service::new(Arc::clone(&store))
            .on(&RANGE, |store, _, request| Ok(store.keys.lock().unwrap().range(&request)))
            .on(&PUT, |store, _, request| {
                let (put, header) = store.write(|keys| keys.check_lease(&request).map(|()| keys.put(&request)));
                put.map(|()| PutReply { header, prev_kv: None })
            })
            .on(&DELETE_RANGE, |store, _, request| {
                let (deleted, header) = store.write(|keys| keys.delete(&request.key.0, &request.range_end.0));
                Ok(DeleteRangeReply { header, deleted: Int(deleted), prev_kvs: Vec::new() })
            })
            .on(&TXN, |store, _, request| store.txn(&request))
            .on(&LEASE_GRANT, |store, _, request| {
                let (id, header) = store.write(|keys| {
                    keys.granted += 1;
                    keys.leases.push(keys.granted);
                    keys.granted
                });
                Ok(LeaseReply { header, id: Int(id), ttl: request.ttl })
            })
            .on(&LEASE_REVOKE, |store, _, request| {
                store.end_lease(request.id.0);
                Ok(HeaderReply { header: store.header() })
            })
            .lines(&LEASE_KEEPALIVE, |store, _, request, out| {
                let lives = store.keys.lock().unwrap().leases.contains(&request.id.0);
                let reply = LeaseReply { header: store.header(), id: request.id, ttl: Int(i64::from(lives) * 3) };
                out.send(&StreamReply { result: Some(reply), error: None })
            })
            .lines(&WATCH, |store, _, request, out| store.watch(request, out))
            .listen(socket, shutdown)
            .unwrap();
        (store, listening)
    }

    fn header(&self) -> Header {
        Header { revision: Int(self.keys.lock().unwrap().revision), ..Header::default() }
    }

    /// Gives what `change` gives, and the header of the revision that it made.
    fn write<T>(&self, change: impl FnOnce(&mut Keys) -> T) -> (T, Header) {
        let mut keys = self.keys.lock().unwrap();
        keys.revision += 1;
        let done = change(&mut keys);
        if keys.log.last().is_none_or(|event| event.kv.mod_revision.0 < keys.revision) {
            keys.revision -= 1;
        }
        let header = Header { revision: Int(keys.revision), ..Header::default() };
        drop(keys);
        self.changed.notify_all();
        (done, header)
    }

    /// A lease runs out.
    pub(crate) fn end_lease(&self, lease: i64) {
        self.write(|keys| {
            keys.leases.retain(|id| *id != lease);
            let of = |(key, kv): (&Vec<u8>, &KeyValue)| (kv.lease.0 == lease).then(|| key.clone());
            let gone: Vec<Vec<u8>> = keys.keys.iter().filter_map(of).collect();
            for key in &gone {
                keys.delete(key, &[]);
            }
        });
    }

    /// The lease that a key hangs on.
    pub(crate) fn lease_of(&self, key: &str) -> Option<i64> {
        self.keys.lock().unwrap().keys.get(key.as_bytes()).map(|kv| kv.lease.0)
    }

    fn txn(&self, request: &TxnRequest) -> Result<TxnReply, ApiError> {
        let (succeeded, header) = self.write(|keys| keys.txn(request));
        Ok(TxnReply { header, succeeded: succeeded?, responses: Vec::new() })
    }

    fn watch(
        &self,
        request: WatchRequest,
        out: &mut LineWriter<'_, '_, StreamReply<WatchReply>>,
    ) -> Result<(), ApiError> {
        let create = request.create_request.unwrap_or_default();
        let mut told = create.start_revision.0 - 1;
        let created = WatchReply { created: true, header: self.header(), ..WatchReply::default() };
        out.send(&StreamReply { result: Some(created), error: None })?;
        while !self.shutdown.asked() && !out.client_gone() {
            let keys = self.keys.lock().unwrap();
            let fresh = |keys: &Keys| keys.log.last().is_some_and(|event| event.kv.mod_revision.0 > told);
            let wait = Duration::from_millis(50);
            let (keys, _) = self.changed.wait_timeout_while(keys, wait, |keys| !fresh(keys)).unwrap();
            let mine = |event: &&WatchEvent| {
                event.kv.mod_revision.0 > told && within(&event.kv.key.0, &create.key.0, &create.range_end.0)
            };
            let events: Vec<WatchEvent> = keys.log.iter().filter(mine).cloned().collect();
            told = told.max(keys.revision);
            drop(keys);
            if !events.is_empty() {
                let reply = WatchReply { events, header: self.header(), ..WatchReply::default() };
                out.send(&StreamReply { result: Some(reply), error: None })?;
            }
        }
        Ok(())
    }
}

fn within(key: &[u8], first: &[u8], end: &[u8]) -> bool {
    if end.is_empty() { key == first } else { key >= first && key < end }
}

impl Keys {
    fn range(&self, request: &RangeRequest) -> RangeReply {
        let mine = |kv: &&KeyValue| within(&kv.key.0, &request.key.0, &request.range_end.0);
        let kvs: Vec<KeyValue> = self.keys.values().filter(mine).cloned().collect();
        let header = Header { revision: Int(self.revision), ..Header::default() };
        RangeReply { header, count: Int(kvs.len() as i64), kvs, more: false }
    }

    fn txn(&mut self, request: &TxnRequest) -> Result<bool, ApiError> {
        let succeeded = request.compare.iter().all(|compare| self.holds(compare));
        let ops = if succeeded { &request.success } else { &request.failure };
        ops.iter().filter_map(|op| op.request_put.as_ref()).try_for_each(|put| self.check_lease(put))?;
        for op in ops {
            if let Some(put) = &op.request_put {
                self.put(put);
            }
            if let Some(delete) = &op.request_delete_range {
                self.delete(&delete.key.0, &delete.range_end.0);
            }
        }
        Ok(succeeded)
    }

    /// Nothing is put under a lease that is over: it would stay for ever.
    fn check_lease(&self, request: &PutRequest) -> Result<(), ApiError> {
        let lives = request.lease.0 == 0 || self.leases.contains(&request.lease.0);
        lives.then_some(()).ok_or_else(|| ApiError::new(Code::NotFound, "etcdserver: requested lease not found"))
    }

    fn put(&mut self, request: &PutRequest) {
        let created = self.keys.get(&request.key.0).map_or(self.revision, |kv| kv.create_revision.0);
        let kv = KeyValue {
            key: request.key.clone(),
            value: request.value.clone(),
            create_revision: Int(created),
            mod_revision: Int(self.revision),
            version: Int(1),
            lease: request.lease,
        };
        self.log.push(WatchEvent { r#type: EventType::Put, kv: kv.clone(), prev_kv: None });
        self.keys.insert(request.key.0.clone(), kv);
    }

    fn delete(&mut self, first: &[u8], end: &[u8]) -> i64 {
        let gone: Vec<Vec<u8>> = self.keys.keys().filter(|key| within(key, first, end)).cloned().collect();
        for key in &gone {
            self.keys.remove(key);
            let kv = KeyValue { key: Bytes(key.clone()), mod_revision: Int(self.revision), ..KeyValue::default() };
            self.log.push(WatchEvent { r#type: EventType::Delete, kv, prev_kv: None });
        }
        gone.len() as i64
    }

    fn holds(&self, compare: &Compare) -> bool {
        let kv = self.keys.get(&compare.key.0);
        let (is, asked) = match compare.target {
            CompareTarget::Create => (kv.map_or(0, |kv| kv.create_revision.0), compare.create_revision),
            CompareTarget::Mod => (kv.map_or(0, |kv| kv.mod_revision.0), compare.mod_revision),
            other => panic!("no comparison of {other:?} is used"),
        };
        let asked = asked.unwrap_or_default().0;
        match compare.result {
            CompareResult::Equal => is == asked,
            CompareResult::Greater => is > asked,
            CompareResult::Less => is < asked,
            CompareResult::NotEqual => is != asked,
        }
    }
}
