//! The launchers of the kernels: a function for each `KERNEL` of the `.cu` files, written by the build script
//! (build/kernels.rs) from its parameters, and the structs that kernels take by value.
//!
//! A launcher queues its kernel and returns. Its first parameters choose the instantiation (`class T` by [`Precision`],
//! `int V` by [`Pack`], `int D` by [`Depth`]); then come the grid, the bytes of dynamic shared memory of a `SHARED_KERNEL`,
//! and the kernel's own parameters, of which pointers are [`Address`]es.
//!
//! # Contract
//!
//! Launchers are not `unsafe`, since all of this crate's addresses come from tensors and [`Memory`](super::gpu::Memory); but
//! whoever calls one promises what the compiler cannot see:
//!
//! - each address is that of an array of the type, and at least the length, that the kernel reads or writes there, aligned
//!   for [`Pack`]; it is 0 only where the kernel's comment says "may be absent";
//! - the memory stays allocated until the kernel has been queued: it is freed in the order of the same stream;
//! - two arrays overlap only where the kernel's comment allows it;
//! - the grid covers the arrays as the kernel's comment says, and dynamic shared memory is as large as the kernel uses.
use super::gpu::{Address, gpu, place};
use super::mask::Mask;
use crate::adamw::Rule;
use crate::gemm::Precision;

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));

/// Blocks of a kernel, by x and y.
pub type Grid = [usize; 2];

/// Numbers that a thread reads or writes in one access.
#[derive(Clone, Copy)]
pub enum Pack {
    One = 1,
    Four = 4,
}

impl Pack {
    /// Returns the largest pack that divides `width`.
    pub fn of(width: usize) -> Pack {
        if width.is_multiple_of(4) {
            Pack::Four
        } else {
            Pack::One
        }
    }

    pub fn numbers(self) -> usize {
        self as usize
    }
}

/// Channels of an attention head, filled up with zeros.
#[derive(Clone, Copy, PartialEq)]
pub enum Depth {
    D64 = 64,
    D96 = 96,
    D128 = 128,
}

impl Depth {
    /// Returns the smallest depth for heads of `channels`, or `None` if there are more than 128.
    pub fn of(channels: usize) -> Option<Depth> {
        [Depth::D64, Depth::D96, Depth::D128]
            .into_iter()
            .find(|depth| channels <= depth.channels())
    }

    pub fn channels(self) -> usize {
        self as usize
    }
}

impl Added {
    /// Adds nothing before the norm.
    pub const NOTHING: Added = Added {
        r: 0,
        bias: 0,
        sum: 0,
        mask: Mask::times(1.0),
    };
}

impl RelativeBias {
    /// No bias.
    pub const NONE: RelativeBias = RelativeBias {
        gate: 0,
        relative: 0,
        longest: 0,
    };
}

impl SlotLayout {
    /// No slots.
    pub const NONE: SlotLayout = SlotLayout {
        starts: 0,
        windows: 0,
        slots: 0,
        k: 0,
        s: 0,
    };
}
