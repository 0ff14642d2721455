//! What pages say of other pages: entries of a B-tree's leaves and bits of a visibility map speak of pages of a table.

/// Where the fields of a page's header are (`storage/bufpage.h`).
const FLAGS: usize = 10;
const LOWER: usize = 12;
const SPECIAL: usize = 16;
const HEADER: usize = 24;
/// Every row of the page is visible to all (`PD_ALL_VISIBLE`).
const ALL_VISIBLE: u16 = 0x0004;
/// A B-tree keeps its links and flags in the last bytes of a page (`access/nbtree.h`).
const TREE_SPECIAL: usize = super::PAGE - 16;
/// Greater ones in the same place tell other kinds of indexes (`MAX_BT_CYCLE_ID`).
const MAX_CYCLE: u16 = 0xFF7F;
const LEAF: u16 = 1;
const OUT_OF_USE: u16 = 4 | 8 | 16; // deleted, meta, half-dead

/// Block numbers of a relation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Blocks(Vec<u64>);

impl Blocks {
    pub(super) fn insert(&mut self, block: u32) {
        let word = block as usize / 64;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (block % 64);
    }

    pub(super) fn contains(&self, block: u32) -> bool {
        self.0
            .get(block as usize / 64)
            .is_some_and(|word| word >> (block % 64) & 1 == 1)
    }

    pub(super) fn add(&mut self, others: &Self) {
        others.iter().for_each(|block| self.insert(block));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0..)
            .zip(&self.0)
            .filter(|(_, word)| **word != 0)
            .flat_map(|(at, word)| {
                let word = *word;
                (0..64)
                    .filter(move |bit| word >> bit & 1 == 1)
                    .map(move |bit| at * 64 + bit)
            })
    }
}

fn short(page: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(page.get(at..at + 2)?.try_into().ok()?))
}

fn long(page: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(page.get(at..at + 4)?.try_into().ok()?))
}

/// The block of a place (`ItemPointerData`): two halves, the higher first.
fn block_at(page: &[u8], at: usize) -> Option<u32> {
    Some(u32::from(short(page, at)?) << 16 | u32::from(short(page, at + 2)?))
}

/// Blocks of the table that the entries of a page point to, if it is a leaf of a B-tree. Entries that are known to be dead
/// are left out.
pub(super) fn pointed_to(page: &[u8], mut tell: impl FnMut(u32)) -> Option<()> {
    let flags = short(page, TREE_SPECIAL + 12)?;
    let tree = usize::from(short(page, SPECIAL)?) == TREE_SPECIAL && short(page, TREE_SPECIAL + 14)? <= MAX_CYCLE;
    if !tree || flags & LEAF == 0 || flags & OUT_OF_USE != 0 {
        return None;
    }
    let rightmost = long(page, TREE_SPECIAL + 4)? == 0;
    let first = if rightmost { HEADER } else { HEADER + 4 }; // a high key comes first where there is a page to the right
    for at in (first..usize::from(short(page, LOWER)?).min(TREE_SPECIAL)).step_by(4) {
        let item = long(page, at)?;
        if item >> 15 & 3 == 1 {
            entry(page, (item & 0x7FFF) as usize, &mut tell);
        }
    }
    Some(())
}

/// One entry: a place, or a list of places where equal keys were put together.
fn entry(page: &[u8], at: usize, tell: &mut impl FnMut(u32)) -> Option<()> {
    let (block, offset, info) = (block_at(page, at)?, short(page, at + 4)?, short(page, at + 6)?);
    if info & 0x2000 == 0 {
        tell(block);
    } else if offset & 0x2000 != 0 {
        let list = at + block as usize;
        for place in (list..).step_by(6).take(usize::from(offset & 0x0FFF)) {
            tell(block_at(page, place)?);
        }
    }
    Some(())
}

/// Whether a page of a table does not claim that every row is visible to all. Pages of indexes and sequences keep
/// something in their last bytes; they claim nothing.
pub(super) fn not_all_visible(page: &[u8]) -> bool {
    short(page, SPECIAL).map(usize::from) == Some(super::PAGE)
        && short(page, FLAGS).is_some_and(|flags| flags & ALL_VISIBLE == 0)
}

/// Blocks that a page of a visibility map has a bit for: all visible, or all frozen.
pub(super) fn marked(page: &[u8], number: u32) -> impl Iterator<Item = u32> + '_ {
    let bytes = page.get(HEADER..).unwrap_or_default();
    let first = number * 4 * bytes.len() as u32;
    (first..)
        .step_by(4)
        .zip(bytes)
        .filter(|(_, byte)| **byte != 0)
        .flat_map(|(block, byte)| {
            let byte = *byte;
            (0..4)
                .filter(move |pair| byte >> (2 * pair) & 3 != 0)
                .map(move |pair| block + pair)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(page: &mut [u8], at: usize, value: u16) {
        page[at..at + 2].copy_from_slice(&value.to_ne_bytes());
    }

    /// A leaf with a high key, an entry, a dead entry and a list of two places.
    fn leaf() -> Vec<u8> {
        let mut page = vec![0; super::super::PAGE];
        put(&mut page, SPECIAL, TREE_SPECIAL as u16);
        put(&mut page, LOWER, 24 + 4 * 4);
        put(&mut page, TREE_SPECIAL + 4, 9); // the page to the right
        put(&mut page, TREE_SPECIAL + 12, LEAF);
        let items = [(1000, 1), (2000, 1), (3000, 3), (4000, 1)];
        for (at, (offset, flags)) in (24..).step_by(4).zip(items) {
            let item: u32 = offset | flags << 15 | 16 << 17;
            page[at..at + 4].copy_from_slice(&item.to_ne_bytes());
        }
        for (at, high, low) in [(1000, 0, 77), (2000, 1, 2), (3000, 0, 88), (4000, 0, 16)] {
            put(&mut page, at, high);
            put(&mut page, at + 2, low);
        }
        put(&mut page, 4000 + 4, 0x2002);
        put(&mut page, 4000 + 6, 0x2000);
        put(&mut page, 4000 + 16 + 2, 5);
        put(&mut page, 4000 + 22 + 2, 6);
        page
    }

    fn blocks(page: &[u8]) -> Option<Vec<u32>> {
        let mut told = Vec::new();
        pointed_to(page, |block| told.push(block)).map(|()| told)
    }

    #[test]
    fn leaves_tell_where_their_entries_point() {
        let page = leaf();
        assert_eq!(blocks(&page), Some(vec![65_538, 5, 6]));
        let mut inner = page.clone();
        put(&mut inner, TREE_SPECIAL + 12, 0);
        assert_eq!(blocks(&inner), None);
        let mut hash = page.clone();
        put(&mut hash, TREE_SPECIAL + 14, 0xFF80);
        assert_eq!(blocks(&hash), None);
        let mut outside = page;
        put(&mut outside, 4000 + 2, 60_000);
        assert_eq!(blocks(&outside), Some(vec![65_538]), "nonsense is passed over");
    }

    #[test]
    fn a_map_tells_its_blocks() {
        let mut page = vec![0; super::super::PAGE];
        page[24] = 0b0000_1101;
        page[8191] = 0b0100_0000;
        assert_eq!(marked(&page, 0).collect::<Vec<_>>(), [0, 1, 32_671]);
        assert_eq!(marked(&page, 1).next(), Some(32_672));
        let mut all = Blocks::default();
        marked(&page, 0).for_each(|block| all.insert(block));
        assert!(all.contains(1) && !all.contains(2) && !all.contains(1 << 30));
        assert_eq!(all.iter().collect::<Vec<_>>(), [0, 1, 32_671]);
    }
}
