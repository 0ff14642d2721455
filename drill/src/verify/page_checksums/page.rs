//! One page: whether it is new, or carries the checksum that belongs to it.

/// What a page is.
pub(super) enum State {
    Valid,
    Zero,
    Bad(String),
}

/// Judges a page as the server does when it reads one.
pub(super) fn state(page: &[u8], block: u32) -> State {
    let field = |at: usize| u16::from_ne_bytes([page[at], page[at + 1]]);
    let (stored, upper) = (field(8), field(14));
    if upper == 0 {
        let zero = page.iter().all(|byte| *byte == 0);
        return if zero {
            State::Zero
        } else {
            State::Bad("its header says that it is new, and it is not empty".into())
        };
    }
    let computed = checksum(page, block);
    if computed == stored {
        return State::Valid;
    }
    State::Bad(format!("checksum {computed:04X} computed, {stored:04X} stored"))
}

/// The checksum of a page: 32 interleaved FNV-1a sums with an extra shift, two rounds of zeros, folded, with the block
/// number mixed in (`storage/checksum_impl.h`). The stored checksum counts as zero.
pub fn checksum(page: &[u8], block: u32) -> u16 {
    const SUMS: usize = 32;
    const START: [u32; SUMS] = [
        0x5B1F_36E9,
        0xB852_5960,
        0x02AB_50AA,
        0x1DE6_6D2A,
        0x79FF_467A,
        0x9BB9_F8A3,
        0x217E_7CD2,
        0x83E1_3D2C,
        0xF8D4_474F,
        0xE39E_B970,
        0x42C6_AE16,
        0x9932_16FA,
        0x7B09_3B5D,
        0x98DA_FF3C,
        0xF718_902A,
        0x0B1C_9CDB,
        0xE58F_764B,
        0x1876_36BC,
        0x5D7B_3BB1,
        0xE73D_E7DE,
        0x92BE_C979,
        0xCCA6_C0B2,
        0x304A_0979,
        0x85AA_43D4,
        0x7831_25BB,
        0x6CA8_EAA2,
        0xE407_EAC6,
        0x4B5C_FC3E,
        0x9FBF_8C76,
        0x15CA_20BE,
        0xF2CA_9FD3,
        0x959B_D756,
    ];
    let mix = |sum: u32, value: u32| {
        let mixed = sum ^ value;
        mixed.wrapping_mul(16_777_619) ^ (mixed >> 17)
    };
    let mut sums = START;
    for (row, words) in page.chunks_exact(4 * SUMS).enumerate() {
        for (column, (sum, word)) in sums.iter_mut().zip(words.as_chunks::<4>().0).enumerate() {
            let word = if (row, column) == (0, 2) {
                [0, 0, word[2], word[3]]
            } else {
                *word
            };
            *sum = mix(*sum, u32::from_ne_bytes(word));
        }
    }
    let folded = sums.into_iter().fold(0, |folded, sum| folded ^ mix(mix(sum, 0), 0));
    ((folded ^ block) % 65_535 + 1) as u16
}
