//! The launchers of the kernels, and the structs that kernels take by value.
//!
//! The build script (build/kernels.rs) writes a function for each `KERNEL` of the `.cu` files, with
//! the kernel's name and parameters: pointers are [`Address`]es, `size_t` is `usize`. Before them
//! come what chooses the instantiation ([`Precision`] for `class T`, [`Pack`] for `int V`,
//! [`Depth`] for `int D`), the grid, and for a `SHARED_KERNEL` the bytes of dynamic shared memory.
//! A launcher queues the kernel and returns; a grid without blocks queues nothing.
//!
//! # Contract
//!
//! Launchers are not `unsafe`, so that it need not be repeated at each call, but a caller promises
//! what the compiler does not check:
//!
//! - An address is that of an array in this GPU's memory, of the type and with all the numbers that
//!   the kernel reads or writes, and aligned for packs. It is 0 only where the kernel's comment
//!   says that the array may be absent.
//! - The array is not freed before the kernel is queued. Memory is freed in the order of the
//!   stream, so it may be freed right after.
//! - The grid and the dynamic shared memory are those that the kernel's comment asks for.
#![allow(clippy::too_many_arguments)] // launchers have as many as their kernels

use super::gpu::{Address, gpu};
pub(crate) use super::grid::{Depth, Grid, Pack};
use super::mask::Mask;
use crate::gemm::Precision;
use std::ffi::c_void;

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));

/// Returns the pointer that the driver reads an argument from.
fn pointer<T>(argument: &T) -> *mut c_void {
    std::ptr::from_ref(argument) as *mut c_void
}

impl Added {
    /// Adds nothing before the norm.
    pub(crate) const NOTHING: Added = Added {
        r: 0,
        bias: 0,
        sum: 0,
        mask: Mask::times(1.0),
    };
}

impl RelativeBias {
    /// No bias.
    pub(crate) const NONE: RelativeBias = RelativeBias {
        gate: 0,
        relative: 0,
        longest: 0,
    };
}

impl SlotLayout {
    /// No slots.
    pub(crate) const NONE: SlotLayout = SlotLayout {
        starts: 0,
        windows: 0,
        slots: 0,
        k: 0,
        s: 0,
    };
}
