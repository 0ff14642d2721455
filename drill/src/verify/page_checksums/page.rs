//! One page: whether it is new, or carries the checksum that belongs to it.

pub use crate::postgres::page::checksum;

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
