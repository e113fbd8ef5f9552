//! Typed tables over the store: one prefix, one type, one version of its form.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use os::signal::Shutdown;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::store::{Change, LeaseId, Record, StoreClient, StoreError, Txn, Watch, WatchEvent};

/// The version of every record's form today. A reader of an older one converts it when it meets it.
const FORM: u32 = 1;

/// A table: the keys that begin with `prefix`, each holding one `T`.
#[derive(Debug)]
pub struct Table<T> {
    prefix: &'static str,
    row: PhantomData<fn() -> T>,
}

/// A row with its place and version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row<T> {
    /// The key without the table's prefix.
    pub id: String,
    /// What it holds.
    pub value: T,
    /// The revision at which it was last changed.
    pub revision: u64,
    /// The revision at which it was made.
    pub created: u64,
}

#[derive(Serialize)]
struct StoredRef<'a, T> {
    v: u32,
    value: &'a T,
}

#[derive(Deserialize)]
struct Stored<T> {
    v: u32,
    value: T,
}

impl<T: Serialize + DeserializeOwned> Table<T> {
    /// The table under `prefix`, which ends with `/`.
    #[must_use]
    pub const fn new(prefix: &'static str) -> Table<T> {
        Table { prefix, row: PhantomData }
    }

    /// The prefix.
    #[must_use]
    pub const fn prefix(&self) -> &'static str {
        self.prefix
    }

    /// The key of the row with that id; ids of several parts are joined with `/`.
    #[must_use]
    pub fn key(&self, id: &[&str]) -> String {
        format!("{}{}", self.prefix, id.join("/"))
    }

    /// A value as it is stored.
    ///
    /// # Panics
    /// If the type cannot be written as JSON, which no type in `types` is.
    #[must_use]
    pub fn encode(&self, value: &T) -> Vec<u8> {
        serde_json::to_vec(&StoredRef { v: FORM, value }).expect("stored types are plain JSON")
    }

    /// A stored record as a row.
    ///
    /// # Errors
    /// When it holds something else.
    pub fn decode(&self, record: &Record) -> Result<Row<T>, StoreError> {
        let failed = |source| StoreError::Decode { key: record.key.clone(), source };
        let stored: Stored<T> = serde_json::from_slice(&record.value).map_err(failed)?;
        if stored.v != FORM {
            let why = format!("its form is {} and this program reads {FORM}", stored.v);
            return Err(failed(serde::de::Error::custom(why)));
        }
        let id = record.key.strip_prefix(self.prefix).unwrap_or(&record.key).to_owned();
        Ok(Row { id, value: stored.value, revision: record.revision, created: record.created })
    }

    /// The row with that id.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn get(&self, store: &StoreClient, id: &[&str]) -> Result<Option<Row<T>>, StoreError> {
        store.get(&self.key(id))?.map(|record| self.decode(&record)).transpose()
    }

    /// Every row whose id begins with `parts`, and the revision at which they were read.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn list(&self, store: &StoreClient, parts: &[&str]) -> Result<(Vec<Row<T>>, u64), StoreError> {
        let mut prefix = self.key(parts);
        if !parts.is_empty() {
            prefix.push('/');
        }
        let listing = store.list(&prefix)?;
        let rows = listing.records.iter().map(|record| self.decode(record)).collect::<Result<_, _>>()?;
        Ok((rows, listing.revision))
    }

    /// Write a row; gives the revision.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn put(&self, store: &StoreClient, id: &[&str], value: &T, lease: Option<LeaseId>) -> Result<u64, StoreError> {
        store.put(&self.key(id), &self.encode(value), lease)
    }

    /// Write a row as part of a transaction.
    #[must_use]
    pub fn put_in(&self, txn: Txn, id: &[&str], value: &T) -> Txn {
        txn.put(&self.key(id), self.encode(value))
    }

    /// Delete a row; gives the revision, and whether it was there.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn delete(&self, store: &StoreClient, id: &[&str]) -> Result<(u64, bool), StoreError> {
        store.delete(&self.key(id))
    }

    /// Follow the rows whose id begins with `parts`.
    #[must_use]
    pub fn watch(&self, store: &StoreClient, parts: &[&str], shutdown: &Shutdown) -> TableWatch<T> {
        let mut prefix = self.key(parts);
        if !parts.is_empty() {
            prefix.push('/');
        }
        TableWatch { table: Table::new(self.prefix), watch: store.watch(&prefix, shutdown) }
    }
}

/// An endless stream of a table's events.
#[derive(Debug)]
pub struct TableWatch<T> {
    table: Table<T>,
    watch: Watch,
}

/// What a table's watch tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableEvent<T> {
    /// All rows at `revision`: forget what was known.
    Reset {
        /// The rows by id.
        rows: BTreeMap<String, Row<T>>,
        /// The revision.
        revision: u64,
    },
    /// What changed, in order.
    Changes {
        /// The changes.
        changes: Vec<RowChange<T>>,
        /// The revision of the last one.
        revision: u64,
    },
}

/// What happened to one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowChange<T> {
    /// It was written.
    Put(Row<T>),
    /// It was deleted.
    Deleted {
        /// Its id.
        id: String,
        /// The revision.
        revision: u64,
    },
}

impl<T: Serialize + DeserializeOwned> Iterator for TableWatch<T> {
    type Item = TableEvent<T>;

    fn next(&mut self) -> Option<TableEvent<T>> {
        Some(match self.watch.next()? {
            WatchEvent::Reset { records, revision } => {
                let rows = records.iter().filter_map(|record| self.row(record));
                TableEvent::Reset { rows: rows.map(|row| (row.id.clone(), row)).collect(), revision }
            }
            WatchEvent::Changes { changes, revision } => {
                let changes = changes
                    .into_iter()
                    .filter_map(|change| match change {
                        Change::Put(record) => self.row(&record).map(RowChange::Put),
                        Change::Deleted { key, revision } => {
                            let id = key.strip_prefix(self.table.prefix).unwrap_or(&key).to_owned();
                            Some(RowChange::Deleted { id, revision })
                        }
                    })
                    .collect();
                TableEvent::Changes { changes, revision }
            }
        })
    }
}

impl<T: Serialize + DeserializeOwned> TableWatch<T> {
    /// A record that cannot be read is reported and left out: one bad row must not blind a watcher to the rest.
    fn row(&self, record: &Record) -> Option<Row<T>> {
        match self.table.decode(record) {
            Ok(row) => Some(row),
            Err(error) => {
                log::error!(key:% = record.key, error:% = os::text::chain(&error); "record not readable");
                None
            }
        }
    }
}

impl<T> TableEvent<T> {
    /// Bring a mirror of the table up to date; gives the revision it then shows.
    pub fn apply(self, mirror: &mut BTreeMap<String, Row<T>>) -> u64 {
        match self {
            TableEvent::Reset { rows, revision } => {
                *mirror = rows;
                revision
            }
            TableEvent::Changes { changes, revision } => {
                for change in changes {
                    match change {
                        RowChange::Put(row) => drop(mirror.insert(row.id.clone(), row)),
                        RowChange::Deleted { id, .. } => drop(mirror.remove(&id)),
                    }
                }
                revision
            }
        }
    }
}
