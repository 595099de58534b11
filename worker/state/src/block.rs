//! A block: up to 1024 rows of a state table in one arena.
//!
//! A record is hash (8 bytes), key length (4), value length (4), key, value. A row keeps its slot for life; removing or
//! moving it leaves garbage in the arena, which is squeezed out when it is more than half, or when its room is needed.

/// Rows in a block.
pub(crate) const BLOCK_ROWS: usize = 1024;

/// Bytes of a full arena: a size that the allocator packs without waste, and of which the rows that a snapshot waits for are quick to
/// copy. Rows of which fewer than [`BLOCK_ROWS`] fit in it leave slots unused; only a greater row, or rows that grow, exceed it.
const ARENA_BYTES: usize = 128 << 10;

const WORDS: usize = BLOCK_ROWS / 64;
const HEADER: usize = 16;
const NO_RECORD: u32 = u32::MAX;

/// A set of slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SlotSet([u64; WORDS]);

impl SlotSet {
    pub const EMPTY: Self = Self([0; WORDS]);

    /// The first slots.
    pub fn below(count: usize) -> Self {
        let mut words = [0; WORDS];
        words[..count / 64].fill(u64::MAX);
        if !count.is_multiple_of(64) {
            words[count / 64] = (1 << (count % 64)) - 1;
        }
        Self(words)
    }

    #[inline]
    pub fn contains(&self, slot: usize) -> bool {
        self.0[slot / 64] & (1 << (slot % 64)) != 0
    }

    #[inline]
    pub fn insert(&mut self, slot: usize) {
        self.0[slot / 64] |= 1 << (slot % 64);
    }

    #[inline]
    pub fn remove(&mut self, slot: usize) {
        self.0[slot / 64] &= !(1 << (slot % 64));
    }

    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().flat_map(|(word, bits)| {
            let mut bits = *bits;
            std::iter::from_fn(move || {
                let bit = (bits != 0).then(|| bits.trailing_zeros() as usize)?;
                bits &= bits - 1;
                Some(word * 64 + bit)
            })
        })
    }

    pub fn len(&self) -> usize {
        self.0.iter().map(|bits| bits.count_ones() as usize).sum()
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Block {
    arena: Vec<u8>,
    /// Where each slot's record begins.
    records: Vec<u32>,
    garbage: usize,
    live: usize,
}

impl Clone for Block {
    /// With as much room to grow as the original: rows that come next must not make it move.
    fn clone(&self) -> Self {
        let mut arena = Vec::with_capacity(self.arena.capacity());
        arena.extend_from_slice(&self.arena);
        let mut records = Vec::with_capacity(self.records.capacity());
        records.extend_from_slice(&self.records);
        Self { arena, records, garbage: self.garbage, live: self.live }
    }
}

impl Block {
    /// An empty block with room for so many bytes of records, at most a full arena.
    pub fn with_capacity(bytes: usize) -> Self {
        let arena = Vec::with_capacity(bytes.min(ARENA_BYTES));
        Self { arena, records: Vec::new(), garbage: 0, live: 0 }
    }

    /// Bytes of its records.
    pub const fn used_bytes(&self) -> usize {
        self.arena.len()
    }

    pub fn bytes(&self) -> usize {
        self.arena.capacity() + self.records.capacity() * 4
    }

    /// True if a row of so many bytes, key and value, can be put into a fresh slot.
    pub fn takes_fresh(&self, bytes: usize) -> bool {
        let fits = self.arena.len() + HEADER + bytes <= ARENA_BYTES;
        self.records.is_empty() || (self.records.len() < BLOCK_ROWS && fits)
    }

    fn record(&self, slot: usize) -> usize {
        self.records[slot] as usize
    }

    #[inline]
    fn length_at(&self, at: usize) -> usize {
        u32::from_le_bytes(self.arena[at..at + 4].try_into().expect("four bytes")) as usize
    }

    #[inline]
    pub fn hash(&self, slot: usize) -> u64 {
        let at = self.record(slot);
        u64::from_le_bytes(self.arena[at..at + 8].try_into().expect("eight bytes"))
    }

    #[inline]
    pub fn key(&self, slot: usize) -> &[u8] {
        let at = self.record(slot);
        let length = self.length_at(at + 8);
        &self.arena[at + HEADER..at + HEADER + length]
    }

    #[inline]
    fn value_range(&self, slot: usize) -> std::ops::Range<usize> {
        let at = self.record(slot);
        let start = at + HEADER + self.length_at(at + 8);
        start..start + self.length_at(at + 12)
    }

    #[inline]
    pub fn value(&self, slot: usize) -> &[u8] {
        &self.arena[self.value_range(slot)]
    }

    #[inline]
    pub fn value_mut(&mut self, slot: usize) -> &mut [u8] {
        let range = self.value_range(slot);
        &mut self.arena[range]
    }

    /// Puts a row into a slot: the next fresh one, or one that was removed.
    pub fn put(&mut self, slot: usize, hash: u64, key: &[u8], value: &[u8]) {
        let at = self.append(hash, key, value);
        if slot == self.records.len() {
            self.records.push(at);
        } else {
            self.records[slot] = at;
        }
        self.live += 1;
    }

    pub fn next_fresh_slot(&self) -> usize {
        self.records.len()
    }

    /// Where the next record begins.
    fn end(&self) -> u32 {
        u32::try_from(self.arena.len()).expect("a block of 1024 rows stays below 4 GiB")
    }

    fn append(&mut self, hash: u64, key: &[u8], value: &[u8]) -> u32 {
        self.make_room(HEADER + key.len() + value.len());
        let at = self.end();
        self.arena.extend_from_slice(&hash.to_le_bytes());
        self.arena.extend_from_slice(&(key.len() as u32).to_le_bytes());
        self.arena.extend_from_slice(&(value.len() as u32).to_le_bytes());
        self.arena.extend_from_slice(key);
        self.arena.extend_from_slice(value);
        at
    }

    fn record_length(&self, slot: usize) -> usize {
        let at = self.record(slot);
        HEADER + self.length_at(at + 8) + self.length_at(at + 12)
    }

    pub fn replace(&mut self, slot: usize, value: &[u8]) {
        let range = self.value_range(slot);
        if range.len() == value.len() {
            self.arena[range].copy_from_slice(value);
            return;
        }
        self.make_room(HEADER + self.key(slot).len() + value.len());
        self.garbage += self.record_length(slot);
        let (old, key_length) = (self.record(slot), self.key(slot).len());
        let at = self.end();
        // Hash and key length, the value's length, the key, the value.
        self.arena.extend_from_within(old..old + 12);
        self.arena.extend_from_slice(&(value.len() as u32).to_le_bytes());
        self.arena.extend_from_within(old + HEADER..old + HEADER + key_length);
        self.arena.extend_from_slice(value);
        self.records[slot] = at;
        self.squeeze();
    }

    pub fn remove(&mut self, slot: usize) {
        self.garbage += self.record_length(slot);
        self.records[slot] = NO_RECORD;
        self.live -= 1;
        if self.live == 0 {
            self.arena = Vec::new();
            self.garbage = 0;
        } else {
            self.squeeze();
        }
    }

    /// Room for `needed` bytes more: garbage makes way before the arena grows, and it grows by little.
    #[inline]
    fn make_room(&mut self, needed: usize) {
        if self.arena.capacity() - self.arena.len() < needed {
            self.move_or_grow(needed);
        }
    }

    #[cold]
    fn move_or_grow(&mut self, needed: usize) {
        let length = self.arena.len();
        if self.garbage * 8 >= length {
            self.rewrite(needed);
            return;
        }
        let wanted = length + needed;
        let roomy = if wanted <= ARENA_BYTES / 8 { 2 * wanted } else { wanted.max(length + length / 4) };
        let capacity = if wanted <= ARENA_BYTES { roomy.min(ARENA_BYTES) } else { wanted.max(length + length / 8) };
        self.arena.reserve_exact(capacity - length);
    }

    /// A copy of some rows, in the same slots, without room for more.
    pub fn only(&self, slots: &SlotSet) -> Self {
        let bytes = slots.iter().map(|slot| self.record_length(slot)).sum();
        let mut arena = Vec::with_capacity(bytes);
        let mut records = Vec::with_capacity(slots.iter().last().map_or(0, |last| last + 1));
        for slot in slots.iter() {
            let (at, length) = (self.record(slot), self.record_length(slot));
            records.resize(slot, NO_RECORD);
            records.push(arena.len() as u32);
            arena.extend_from_slice(&self.arena[at..at + length]);
        }
        Self { arena, records, garbage: 0, live: slots.len() }
    }

    /// Rewrites the arena without garbage when that is most of it.
    fn squeeze(&mut self) {
        if self.garbage >= 4096 && self.garbage * 2 >= self.arena.len() {
            self.rewrite(0);
        }
    }

    /// Moves the rows into an arena with room for `more` bytes, and some for rows that take the place of removed ones.
    fn rewrite(&mut self, more: usize) {
        let live = self.arena.len() - self.garbage;
        let mut arena = Vec::with_capacity((live + more.max(live / 16)).min(self.arena.capacity().max(live + more)));
        for slot in 0..self.records.len() {
            if self.records[slot] == NO_RECORD {
                continue;
            }
            let (at, length) = (self.record(slot), self.record_length(slot));
            self.records[slot] = arena.len() as u32;
            arena.extend_from_slice(&self.arena[at..at + length]);
        }
        self.arena = arena;
        self.garbage = 0;
    }

    /// The slots that hold a row.
    pub fn live(&self) -> SlotSet {
        if self.live == self.records.len() {
            return SlotSet::below(self.live);
        }
        let mut live = SlotSet::EMPTY;
        self.live_slots().for_each(|slot| live.insert(slot));
        live
    }

    pub fn live_slots(&self) -> impl Iterator<Item = usize> + '_ {
        self.records.iter().enumerate().filter(|(_, at)| **at != NO_RECORD).map(|(slot, _)| slot)
    }
}

#[cfg(test)]
#[path = "block_tests.rs"]
mod tests;
