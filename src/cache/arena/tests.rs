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
    let arena = Arena::new(2 << 20).expect("an arena");
    let _other = arena.slot(1 << 20).expect("room");
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

/// What lies beside it in memory of the same kind may be counted with it.
const NEIGHBOURS: usize = BLOCK / 2;

/// Bytes of it that are memory (proc(5), smaps).
fn resident(arena: &Arena) -> usize {
    let begin = arena.map.base.as_ptr() as usize;
    let mut inside = false;
    let mut bytes = 0;
    for line in std::fs::read_to_string("/proc/self/smaps")
        .expect("the kernel's own")
        .lines()
    {
        let first = line.split_whitespace().next().expect("a word");
        let range = first.split_once('-');
        if let Some(Ok(from)) = range.map(|(from, _)| usize::from_str_radix(from, 16)) {
            inside = (begin..begin + arena.map.length).contains(&from);
        } else if inside && first == "Rss:" {
            let kib = line.split_whitespace().nth(1).expect("a number");
            bytes += kib.parse::<usize>().expect("KiB") << 10;
        }
    }
    bytes
}

#[test]
fn memory_is_taken_as_it_is_needed_and_little_more_than_is_in_use_is_kept() {
    let arena = Arena::new(64 << 20).expect("an arena");
    assert!(resident(&arena) < NEIGHBOURS);
    let chunk = 256 << 10;
    let fill = |byte| {
        let mut filling = arena.slot(chunk)?;
        filling.push(&vec![byte; chunk]);
        Some(filling.filled())
    };
    let first = fill(9).expect("room");
    assert!(resident(&arena) < BLOCK + NEIGHBOURS);
    let mut all: Vec<_> = std::iter::from_fn(|| fill(7)).collect();
    assert_eq!(all.len(), (64 << 20) / chunk - 1);
    assert!(resident(&arena) >= 64 << 20);
    // One is left in each block.
    let in_a_block = BLOCK / chunk;
    let mut number = 0;
    all.retain(|_| {
        number += 1;
        number % in_a_block == 0
    });
    let in_use = (all.len() + 1) * chunk;
    assert!(
        resident(&arena) <= in_use + (64 << 20) / 8 + NEIGHBOURS,
        "{}",
        resident(&arena)
    );
    assert!(first.iter().all(|&it| it == 9) && all.iter().flatten().all(|&it| it == 7));
    // What was given back to the system is filled again.
    let again: Vec<_> = std::iter::from_fn(|| fill(5)).collect();
    assert_eq!(again.len(), (64 << 20) / chunk - 1 - all.len());
    assert!(again.iter().flatten().all(|&it| it == 5));
    assert!(all.iter().flatten().all(|&it| it == 7));
}
