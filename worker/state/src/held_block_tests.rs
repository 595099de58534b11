use super::*;

fn held() -> HeldBlock {
    let mut held = HeldBlock::new(Block::with_capacity(1000));
    let block = held.writable();
    for slot in 0..3 {
        block.put(slot, slot as u64, &[slot as u8], b"before");
    }
    held
}

fn slots(slots: &[usize]) -> SlotSet {
    let mut set = SlotSet::EMPTY;
    slots.iter().for_each(|slot| set.insert(*slot));
    set
}

fn write(held: &mut HeldBlock, slot: usize, value: &[u8; 6]) {
    held.writable().value_mut(slot).copy_from_slice(value);
}

#[test]
fn sharing_copies_nothing_and_a_block_held_alone_again_stays_where_it_is() {
    let mut held = held();
    let arena = held.value(0).as_ptr();
    let frozen = held.share(slots(&[0]));
    assert_eq!(frozen.read(|block| block.value(0).as_ptr()), arena);
    drop(frozen);
    write(&mut held, 0, b"after!");
    assert_eq!(held.value(0).as_ptr(), arena);
}

#[test]
fn at_the_first_write_a_snapshot_gets_a_copy_of_its_rows_alone() {
    let mut held = held();
    let arena = held.value(0).as_ptr();
    let frozen = held.share(slots(&[0, 2]));
    write(&mut held, 0, b"after!");
    assert_eq!(held.value(0).as_ptr(), arena, "the table's block is not moved");
    frozen.read(|block| {
        assert_eq!(block.live_slots().collect::<Vec<_>>(), [0, 2]);
        assert_eq!((block.hash(2), block.key(2), block.value(2)), (2, &[2][..], &b"before"[..]));
        assert_eq!(block.value(0), b"before");
        assert!(block.bytes() < held.bytes());
    });
    write(&mut held, 2, b"later!");
    assert_eq!(frozen.read(|block| block.value(2).to_vec()), b"before");
}

#[test]
fn two_snapshots_of_a_block_each_keep_their_own_rows() {
    let mut held = held();
    let first = held.share(slots(&[0, 1]));
    write(&mut held, 1, b"second");
    let second = held.share(slots(&[1]));
    let third = held.share(slots(&[0, 1, 2]));
    write(&mut held, 1, b"fourth");
    let values = |frozen: &FrozenBlock| {
        frozen.read(|block| frozen.rows().iter().map(|slot| block.value(slot).to_vec()).collect::<Vec<_>>())
    };
    assert_eq!(values(&first), [b"before", b"before"]);
    assert_eq!(values(&second), [b"second"]);
    assert_eq!(values(&third), [b"before", b"second", b"before"]);
}

#[test]
fn a_block_whose_rows_are_being_read_is_copied_and_nobody_waits() {
    let mut held = held();
    let arena = held.value(0).as_ptr();
    let frozen = held.share(slots(&[0]));
    frozen.read(|block| {
        write(&mut held, 0, b"after!");
        assert_eq!(block.value(0), b"before");
        assert_ne!(held.value(0).as_ptr(), arena);
    });
    assert_eq!(frozen.read(|block| block.value(0).to_vec()), b"before");
}
