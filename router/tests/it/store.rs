//! A store in memory that speaks as much of the dialect as the router does.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::serve::{Listening, Service};
use api::store::endpoints;
use api::store::wire::{
    Bytes, DeleteRangeReply, EventType, Header, HeaderReply, Int, KeyValue, LeaseReply, PutReply, RangeReply,
    StreamReply, WatchEvent, WatchReply, WatchRequest,
};
use os::signal::Shutdown;

#[derive(Default)]
struct State {
    revision: i64,
    keys: BTreeMap<Vec<u8>, KeyValue>,
    log: Vec<WatchEvent>,
}

impl State {
    fn header(&self) -> Header {
        Header { revision: Int(self.revision), ..Header::default() }
    }

    fn put(&mut self, key: Bytes, value: Bytes, lease: Int) {
        self.revision += 1;
        let made = self.keys.get(&key.0).map_or(Int(self.revision), |old| old.create_revision);
        let mod_revision = Int(self.revision);
        let kv = KeyValue { key: key.clone(), create_revision: made, mod_revision, version: Int(1), value, lease };
        self.log.push(WatchEvent { r#type: EventType::Put, kv: kv.clone(), prev_kv: None });
        self.keys.insert(key.0, kv);
    }

    fn delete(&mut self, wanted: impl Fn(&KeyValue) -> bool) -> usize {
        let gone: Vec<Vec<u8>> = self.keys.values().filter(|kv| wanted(kv)).map(|kv| kv.key.0.clone()).collect();
        self.revision += i64::from(!gone.is_empty());
        for key in &gone {
            self.keys.remove(key);
            let kv = KeyValue { key: Bytes(key.clone()), mod_revision: Int(self.revision), ..KeyValue::default() };
            self.log.push(WatchEvent { r#type: EventType::Delete, kv, prev_kv: None });
        }
        gone.len()
    }
}

fn within(key: &[u8], from: &[u8], to: &[u8]) -> bool {
    if to.is_empty() { key == from } else { key >= from && key < to }
}

/// What is kept while the store is away.
#[derive(Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<State>>);

/// The store while it is there.
pub(crate) struct Store {
    shutdown: Shutdown,
    listening: Option<Listening>,
}

impl Store {
    pub(crate) fn start(disk: &Disk, socket: &Path) -> Store {
        let shutdown = Shutdown::new();
        let ended = shutdown.clone();
        let service = Service::new(Arc::new(disk.clone()))
            .on(&endpoints::RANGE, |disk, _, asked| {
                let state = disk.0.lock().unwrap();
                let wanted = |kv: &&KeyValue| within(&kv.key.0, &asked.key.0, &asked.range_end.0);
                let kvs: Vec<KeyValue> = state.keys.values().filter(wanted).cloned().collect();
                Ok(RangeReply { header: state.header(), count: Int(kvs.len() as i64), kvs, more: false })
            })
            .on(&endpoints::PUT, |disk, _, asked| {
                let mut state = disk.0.lock().unwrap();
                state.put(asked.key, asked.value, asked.lease);
                Ok(PutReply { header: state.header(), prev_kv: None })
            })
            .on(&endpoints::DELETE_RANGE, |disk, _, asked| {
                let mut state = disk.0.lock().unwrap();
                let deleted = state.delete(|kv| within(&kv.key.0, &asked.key.0, &asked.range_end.0));
                Ok(DeleteRangeReply { header: state.header(), deleted: Int(deleted as i64), prev_kvs: Vec::new() })
            })
            .on(&endpoints::LEASE_GRANT, |_, _, asked| {
                Ok(LeaseReply { id: Int(7), ttl: asked.ttl, ..LeaseReply::default() })
            })
            .on(&endpoints::LEASE_REVOKE, |disk, _, asked| {
                let mut state = disk.0.lock().unwrap();
                state.delete(|kv| kv.lease == asked.id);
                Ok(HeaderReply { header: state.header() })
            })
            .lines(&endpoints::LEASE_KEEPALIVE, |_, _, asked, out| {
                let kept = LeaseReply { id: asked.id, ttl: Int(6), ..LeaseReply::default() };
                out.send(&StreamReply { result: Some(kept), error: None })
            })
            .raw(&endpoints::WATCH, move |disk, _, exchange| {
                let asked: WatchRequest = exchange.json_body()?;
                // A client that went away ends it too, with nobody left to be told.
                let _ = follow(disk, asked, &ended, &mut exchange.stream("application/json"));
                // As when its program ends: the connection goes too, and is not used for the next watch.
                exchange.hang_up();
                Ok(())
            });
        let listening = Some(service.listen(socket, &shutdown).unwrap());
        Store { shutdown, listening }
    }
}

fn follow(disk: &Disk, asked: WatchRequest, ended: &Shutdown, out: &mut dyn Write) -> std::io::Result<()> {
    let watch = asked.create_request.unwrap_or_default();
    let mut next = watch.start_revision.0;
    while !ended.asked() {
        let events: Vec<WatchEvent> = {
            let state = disk.0.lock().unwrap();
            let new = |event: &&WatchEvent| {
                event.kv.mod_revision.0 >= next && within(&event.kv.key.0, &watch.key.0, &watch.range_end.0)
            };
            state.log.iter().filter(new).cloned().collect()
        };
        match events.last() {
            Some(last) => next = last.kv.mod_revision.0 + 1,
            None => {
                os::clock::pause(Duration::from_millis(1));
                continue;
            }
        }
        let reply = StreamReply { result: Some(WatchReply { events, ..WatchReply::default() }), error: None };
        out.write_all(&[serde_json::to_vec(&reply)?, b"\n".to_vec()].concat())?;
        out.flush()?;
    }
    Ok(())
}

impl Drop for Store {
    fn drop(&mut self) {
        self.shutdown.ask();
        if let Some(listening) = self.listening.take() {
            listening.finish();
        }
    }
}
