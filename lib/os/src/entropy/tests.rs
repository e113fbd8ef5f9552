use super::*;

#[test]
fn uuid_has_the_usual_form_and_differs() {
    let id = uuid();
    assert_eq!(id.len(), 36);
    assert_eq!(id.as_bytes()[14], b'4');
    assert_ne!(id, uuid());
}
