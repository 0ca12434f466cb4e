//! How a kernel is spread over threads: its blocks, and the numbers a thread takes at once.

/// Blocks of a kernel, by x and y.
pub(crate) type Grid = [usize; 2];

/// Numbers that a thread reads or writes in one access.
#[derive(Clone, Copy)]
pub(crate) enum Pack {
    One = 1,
    Four = 4,
}

impl Pack {
    /// Returns the largest pack that divides `width`.
    pub(crate) fn of(width: usize) -> Pack {
        if width.is_multiple_of(4) {
            Pack::Four
        } else {
            Pack::One
        }
    }

    pub(crate) fn numbers(self) -> usize {
        self as usize
    }
}

/// Channels of an attention head, filled up with zeros.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Depth {
    D64 = 64,
    D96 = 96,
    D128 = 128,
}

impl Depth {
    /// Returns the smallest depth for heads of `channels`, or `None` if there are more than 128.
    pub(crate) fn of(channels: usize) -> Option<Depth> {
        [Depth::D64, Depth::D96, Depth::D128]
            .into_iter()
            .find(|depth| channels <= depth.channels())
    }

    pub(crate) fn channels(self) -> usize {
        self as usize
    }
}

/// Returns the grid of a kernel with a thread for each pack of `len` numbers, in rows of a width.
pub(crate) fn for_each(len: usize, width: usize) -> Grid {
    [len.div_ceil(256 * Pack::of(width).numbers()), 1]
}

/// Returns the grid of a kernel with a warp for each of `rows`.
pub(crate) fn for_rows(rows: usize) -> Grid {
    [rows.div_ceil(8), 1]
}
