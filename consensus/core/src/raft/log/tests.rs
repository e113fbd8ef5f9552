use super::*;

fn log(terms: &[u64]) -> Log {
    let base = SnapshotMeta { index: 10, term: 1, membership: Arc::new(Membership::default()) };
    let entries = terms.iter().zip(11..).map(|(term, index)| Entry { term: *term, index, payload: Payload::Blank });
    Log::new(&base, entries.collect())
}

#[test]
fn log_knows_the_term_of_its_base_but_not_before() {
    let log = log(&[1, 2, 2]);
    assert_eq!((log.term(9), log.term(10), log.term(12), log.term(14)), (None, Some(1), Some(2), None));
    assert_eq!((log.last_index(), log.last_term(), log.persisted()), (13, 2, 13));
}

#[test]
fn log_news_of_a_replaced_entry_is_ignored() {
    let mut log = log(&[1, 2, 2]);
    log.truncate(12);
    log.push(Entry { term: 3, index: 12, payload: Payload::Blank });
    assert!(!log.note_persisted(12, 2));
    assert_eq!(log.persisted(), 11);
    assert!(log.note_persisted(12, 3));
}

#[test]
fn log_compacts_to_an_entry_it_holds() {
    let mut log = log(&[1, 2, 2]);
    log.compact(12);
    assert_eq!((log.base_index(), log.term(12), log.last_index()), (12, Some(2), 13));
    log.compact(99);
    assert_eq!(log.base_index(), 12);
}
