use super::*;

fn key(n: usize) -> [u8; 8] {
    (n as u64).to_le_bytes()
}

#[test]
fn rows_that_take_the_place_of_removed_ones_do_not_make_the_arena_grow() {
    let mut block = Block::with_capacity(ARENA_BYTES);
    let mut slots = 0;
    while block.takes_fresh(208) {
        block.put(slots, 7, &key(slots), &[1; 200]);
        slots += 1;
    }
    assert_eq!(slots, ARENA_BYTES / 224);
    let full = block.arena.capacity();
    for round in 0..20_000 {
        let slot = (round * 7) % slots;
        block.remove(slot);
        block.put(slot, 7, &key(slot), &[round as u8; 200]);
        assert_eq!((block.key(slot), block.value(slot)), (&key(slot)[..], &[round as u8; 200][..]));
    }
    // An eighth of garbage is tolerated, and the arena grows by an eighth.
    assert!(block.arena.capacity() <= full + full / 4, "{} of {full}", block.arena.capacity());
}

#[test]
fn a_copy_has_the_room_of_the_original() {
    let mut block = Block::with_capacity(1000);
    block.put(0, 1, &key(0), b"value");
    let mut copy = block.clone();
    assert!(copy.arena.capacity() >= block.arena.capacity());
    copy.put(1, 1, &key(1), b"another");
    assert_eq!((copy.value(0), copy.value(1)), (&b"value"[..], &b"another"[..]));
    assert_eq!(block.next_fresh_slot(), 1);
}

#[test]
fn a_row_greater_than_an_arena_has_a_block_of_its_own() {
    let mut block = Block::with_capacity(ARENA_BYTES);
    assert!(block.takes_fresh(10 * ARENA_BYTES));
    block.put(0, 1, &key(0), &vec![9; 10 * ARENA_BYTES]);
    assert!(!block.takes_fresh(1));
    assert_eq!(block.value(0).len(), 10 * ARENA_BYTES);
    block.replace(0, b"small");
    assert_eq!(block.value(0), b"small");
    assert!(block.bytes() < ARENA_BYTES, "the garbage is gone");
}

#[test]
fn the_live_slots_are_known_with_and_without_holes() {
    for rows in [0, 1, 63, 64, 65, 1000, BLOCK_ROWS] {
        let mut block = Block::with_capacity(0);
        (0..rows).for_each(|slot| block.put(slot, 7, &key(slot), b""));
        assert_eq!(block.live().iter().collect::<Vec<_>>(), (0..rows).collect::<Vec<_>>());
        if rows > 1 {
            block.remove(1);
            let left: Vec<usize> = (0..rows).filter(|slot| *slot != 1).collect();
            assert_eq!(block.live().iter().collect::<Vec<_>>(), left);
        }
    }
}
