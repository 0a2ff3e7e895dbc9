use std::io::{Read, Write};

use super::*;

fn filled(arena: &Arc<Arena>, byte: u8, length: usize) -> Bytes {
    let mut filling = arena.slot(length).expect("room");
    for part in vec![byte; length].chunks(60_000) {
        filling.push(part).expect("memory");
    }
    assert_eq!(filling.room(), 0);
    filling.filled()
}

#[test]
fn what_was_filled_in_is_read_and_stays_while_anybody_holds_a_part_of_it() {
    let arena = Arena::new(4 << 20).expect("an arena");
    let a = filled(&arena, 1, 1 << 20);
    let part = a.slice(1_000..2_000);
    drop(a);
    let others: Vec<_> = (2..9)
        .filter_map(|byte| arena.slot(1 << 20).map(|_| byte))
        .collect();
    assert_eq!(
        others.len(),
        7,
        "each was dropped at once, so its slot was free again"
    );
    let held: Vec<_> = (2..5).map(|byte| filled(&arena, byte, 1 << 20)).collect();
    assert!(arena.slot(1 << 20).is_none(), "the part keeps its slot");
    assert!(part.iter().all(|&byte| byte == 1));
    drop(held);
    assert!(arena.slot(1 << 20).is_some());
}

#[test]
fn what_is_filled_in_is_read_and_keeps_its_slot_while_the_rest_is_still_to_come() {
    let arena = Arena::new(1 << 20).expect("an arena");
    let mut filling = arena.slot(1 << 20).expect("room");
    filling.push(b"abc").expect("memory");
    let begin = filling.filled();
    filling.push(b"def").expect("memory");
    assert_eq!(
        (&begin[..], &filling.filled()[..]),
        (&b"abc"[..], &b"abcdef"[..])
    );
    drop(filling);
    assert!(
        arena.slot(1 << 20).is_none(),
        "who reads the beginning holds the slot"
    );
    assert_eq!(&begin[..], b"abc");
    drop(begin);
    assert!(arena.slot(1 << 20).is_some());
}

#[test]
fn bytes_from_elsewhere_are_not_lent() {
    let arena = Arena::new(1 << 20).expect("an arena");
    assert!(arena.lend(&vec![0; 100_000]).is_none());
    let bytes = filled(&arena, 7, 100_000);
    let (_, offset) = arena.lend(&bytes[50_000..]).expect("its own");
    assert_eq!(offset, 50_000);
}

#[test]
fn a_socket_sends_the_bytes_it_was_lent_though_their_slot_was_filled_again() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut reader =
        std::net::TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
    let (mut socket, _) = listener.accept().expect("accepts");
    let arena = Arena::new(1 << 20).expect("an arena");
    for round in 1..=20u8 {
        let length = 100_000;
        let bytes = filled(&arena, round, length);
        let (file, offset) = arena.lend(&bytes).expect("its own");
        let mut at = offset;
        let sent = rustix::fs::sendfile(&socket, file, Some(&mut at), length).expect("sends");
        drop(bytes);
        // The same pages of the file, filled anew while the client has read nothing.
        let again: Vec<_> = (0..10).map(|_| filled(&arena, 200, length)).collect();
        let mut read = vec![0; sent];
        reader.read_exact(&mut read).expect("bytes");
        assert!(read.iter().all(|&byte| byte == round), "round {round}");
        drop(again);
    }
    socket.flush().expect("flushes");
}

#[test]
fn the_setting_in_force_is_the_one_in_brackets() {
    let set = |setting: &str| may_be_huge(Ok(setting.to_owned()));
    assert!(!set("always within_size advise [never] deny force"));
    assert!(set("[always] within_size advise never deny force"));
    let unseen = std::io::ErrorKind::PermissionDenied;
    assert!(may_be_huge(Err(unseen.into())), "nobody knows");
}
