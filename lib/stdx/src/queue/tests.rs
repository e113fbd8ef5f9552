use super::*;

#[test]
fn queue_full_gives_the_item_back() {
    let mut queue = BoundedQueue::new(2);
    assert_eq!(queue.push(1), Ok(()));
    assert_eq!(queue.push(2), Ok(()));
    assert_eq!(queue.push(3), Err(Full(3)));
    assert_eq!((queue.pop(), queue.len(), queue.is_empty()), (Some(1), 1, false));
}
