use super::*;

fn filled(arena: &Arc<Arena>, byte: u8, length: usize) -> Bytes {
    let mut filling = arena.slot(length).expect("room");
    for part in vec![byte; length].chunks(60_000) {
        filling.push(part);
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
    filling.push(b"abc");
    let begin = filling.filled();
    filling.push(b"def");
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
fn a_slot_that_comes_back_is_filled_again_and_no_new_memory_is_taken() {
    let arena = Arena::new(64 << 20).expect("an arena");
    let first = filled(&arena, 1, 1 << 20);
    let at = first.as_ptr();
    drop(first);
    for byte in 2..100 {
        let bytes = filled(&arena, byte, 1 << 20);
        assert_eq!(bytes.as_ptr(), at);
        assert!(arena.holds(&bytes) && bytes.iter().all(|&it| it == byte));
    }
}

#[test]
fn memory_is_taken_in_whole_regions_as_it_is_needed_and_an_odd_end_is_of_use_too() {
    let arena = Arena::new((64 << 20) + BLOCK as u64).expect("an arena");
    let resident = || {
        let statm = std::fs::read_to_string("/proc/self/smaps").expect("the kernel's own");
        let begin = format!("{:x}-", arena.map.base.as_ptr() as usize);
        let mapping = statm.split(&begin).nth(1).expect("the mapping");
        let line = mapping.lines().find(|line| line.starts_with("Rss:"));
        let words = line.and_then(|line| line.split_whitespace().nth(1));
        words
            .and_then(|kib| kib.parse::<usize>().ok())
            .expect("KiB")
            << 10
    };
    let bytes = filled(&arena, 1, 20_000);
    assert!(resident() >= REGION);
    let all: Vec<_> = std::iter::from_fn(|| {
        let mut filling = arena.slot(BLOCK)?;
        filling.push(&[7; BLOCK]);
        Some(filling.filled())
    })
    .collect();
    assert_eq!(all.len(), 64);
    drop((bytes, all));
}
