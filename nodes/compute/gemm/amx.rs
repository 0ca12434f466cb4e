//! The kernel for operands rounded to bf16 where the CPU has AMX: products of whole tiles.
//!
//! A tile register holds 16 rows of 64 bytes. `tdpbf16ps` adds a (16 rows, 16 words of depth)
//! times b (16 words of depth, 16 columns) to 16 × 16 sums in f32, the work of 256 `vdpbf16ps`
//! lanes in 16 cycles (Intel's Software Developer's Manual, volume 1, chapter 18).
//! A word is a pair of bf16 as in gemm/bf16.rs, whose panels of b are read as they are; rows of a
//! are packed tile by tile. Depth is padded to whole tiles with words of zeros.
//!
//! The instructions are written in assembly, since rustc's intrinsics for them are not stable.
#![allow(unsafe_op_in_unsafe_fn)] // nearly every line is a load, a store or an instruction
use super::bf16::{pack_panel_bf16, pack_rows_bf16};
use super::kernel::{Kernel, RowForm, Tile};
use super::packing::Panel;
use super::simd::Simd;
use std::arch::asm;
use std::arch::x86_64::*;
use std::mem::MaybeUninit;
use std::sync::OnceLock;

/// Rows and words of a tile register.
const TILE: usize = 16;
/// Rows of c that the micro-kernel computes: two tile registers.
const MR: usize = 2 * TILE;
/// Columns of c that the micro-kernel computes: two tile registers.
const NR: usize = 2 * TILE;

/// The kernel for AMX-BF16.
pub(super) static AMX: Kernel = Kernel {
    mr: MR,
    nr: NR,
    k_per_word: 2,
    words_per_step: TILE,
    max_kc: 160, // a panel of 20 KiB: it and a tile of a fit in 48 KiB of L1
    configure: Some(configure),
    release: Some(release),
    micro_kernel,
    pack_panel: pack_panel_of_tiles,
    row_form: RowForm::Own(pack_rows_of_tiles),
    prefetches: true,
};

/// Returns whether the CPU has AMX-BF16 and the system lets this process use it.
///
/// Linux allocates the registers' memory for processes that ask for it alone; this one asks once.
pub(super) fn is_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| cpu_has_tiles() && system_permits_tiles())
}

#[allow(unused_unsafe)] // `__cpuid` is safe in newer versions of Rust than the oldest allowed
fn cpu_has_tiles() -> bool {
    const BF16: u32 = 1 << 22;
    const TILES: u32 = 1 << 24;
    // SAFETY: x86-64 CPUs have the instruction.
    is_x86_feature_detected!("avx512bf16")
        && unsafe {
            __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & (BF16 | TILES) == BF16 | TILES
        }
}

#[cfg(target_os = "linux")]
fn system_permits_tiles() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const TILE_DATA: libc::c_long = 18;
    // SAFETY: the call takes two numbers and writes nothing; where it is unknown it fails.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn system_permits_tiles() -> bool {
    false
}

/// The operand of `ldtilecfg`: bytes of a row and rows of each tile register.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// Eight tile registers of 16 rows of 64 bytes.
static WHOLE_TILES: Configuration = Configuration {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// Gives this thread's tile registers their shape.
///
/// # Safety
/// Tiles are available.
pub(crate) unsafe fn configure() {
    asm!("ldtilecfg [{}]", in(reg) &WHOLE_TILES, options(nostack, readonly, preserves_flags));
}

/// Empties this thread's tile registers, so that the system need not save them.
///
/// # Safety
/// Tiles are available.
pub(crate) unsafe fn release() {
    asm!("tilerelease", options(nostack, nomem, preserves_flags));
}

/// Computes a tile of c: at most MR rows and NR columns.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma,avx2")]
unsafe fn micro_kernel(t: &Tile) {
    debug_assert!(t.k.is_multiple_of(TILE));
    let mut edge = MaybeUninit::<[f32; MR * NR]>::uninit();
    let edge = edge.as_mut_ptr() as *mut f32;
    let is_whole = t.m == MR && t.n == NR;
    // Tile registers have whole rows, so c at an edge goes through memory of its own.
    let (target, target_rs) = if is_whole { (t.c, t.c_rs) } else { (edge, NR) };
    if !is_whole && t.accumulate {
        for_each_vector(t, |row, column, mask| {
            let c = t.c.add(row * t.c_rs + column);
            _mm512_maskz_loadu_ps(mask, c).store(edge.add(row * NR + column));
        });
    }
    match (t.m > TILE, t.n > TILE) {
        (true, true) => multiply_2_by_2(t, target, target_rs),
        (true, false) => multiply_2_by_1(t, target, target_rs),
        (false, true) => multiply_1_by_2(t, target, target_rs),
        (false, false) => multiply_1_by_1(t, target, target_rs),
    }
    if !is_whole {
        for_each_vector(t, |row, column, mask| {
            let c = t.c.add(row * t.c_rs + column);
            _mm512_mask_storeu_ps(c, mask, __m512::load(edge.add(row * NR + column)));
        });
    }
    if let Some((epilogue, row, column)) = t.epilogue {
        for i in 0..t.m {
            let c = std::slice::from_raw_parts_mut(t.c.add(i * t.c_rs), t.n);
            epilogue.apply(row + i, column, c);
        }
    }
}

/// Calls `f` for each vector of a tile of c: its row, its first column and which lanes are in c.
#[inline(always)]
unsafe fn for_each_vector(t: &Tile, f: impl Fn(usize, usize, u16)) {
    for row in 0..t.m {
        for column in (0..t.n).step_by(16) {
            let left = (t.n - column).min(16);
            f(row, column, (1u32 << left).wrapping_sub(1) as u16);
        }
    }
}

/// Defines a product of tile registers: sums of `t.k` words of depth, stored to `target`.
///
/// Registers 0 to 3 are the sums, from 0 or from what `target` holds, 4 and 5 rows of a, 6 and 7
/// columns of b. Each step prefetches a part of the next panel.
macro_rules! multiply {
    ($name:ident, $clear:literal, $load:literal, $step:literal, $store:literal) => {
        unsafe fn $name(t: &Tile, target: *mut f32, target_rs: usize) {
            const WORD: usize = size_of::<f32>();
            asm!(
                "test {accumulate}, {accumulate}",
                "jnz 3f",
                $clear,
                "jmp 2f",
                "3:",
                $load,
                "2:",
                $step,
                "prefetcht1 [{ahead}]
                 prefetcht1 [{ahead} + 64]
                 prefetcht1 [{ahead} + 128]
                 prefetcht1 [{ahead} + 192]
                 prefetcht1 [{ahead} + 256]
                 prefetcht1 [{ahead} + 320]
                 prefetcht1 [{ahead} + 384]
                 prefetcht1 [{ahead} + 448]
                 add {ahead}, 512",
                "add {a}, {tile_bytes}",
                "add {below}, {tile_bytes}",
                "add {b}, {panel_bytes}",
                "dec {steps}",
                "jnz 2b",
                $store,
                a = inout(reg) t.a => _,
                below = inout(reg) t.a.wrapping_add(TILE * t.k) => _,
                b = inout(reg) t.b => _,
                ahead = inout(reg) t.ahead => _,
                accumulate = in(reg) t.accumulate as usize,
                steps = inout(reg) t.k / TILE => _,
                a_rs = in(reg) TILE * WORD,
                b_rs = in(reg) NR * WORD,
                c = in(reg) target,
                c_below = in(reg) target.wrapping_add(TILE * target_rs),
                c_rs = in(reg) target_rs * WORD,
                tile_bytes = const TILE * TILE * WORD,
                panel_bytes = const TILE * NR * WORD,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    };
}

multiply!(
    multiply_2_by_2,
    "tilezero tmm0
     tilezero tmm1
     tilezero tmm2
     tilezero tmm3",
    "tileloadd tmm0, [{c} + {c_rs}*1]
     tileloadd tmm1, [{c} + {c_rs}*1 + 64]
     tileloadd tmm2, [{c_below} + {c_rs}*1]
     tileloadd tmm3, [{c_below} + {c_rs}*1 + 64]",
    "tileloadd tmm4, [{a} + {a_rs}*1]
     tileloadd tmm6, [{b} + {b_rs}*1]
     tdpbf16ps tmm0, tmm4, tmm6
     tileloadd tmm7, [{b} + {b_rs}*1 + 64]
     tdpbf16ps tmm1, tmm4, tmm7
     tileloadd tmm5, [{below} + {a_rs}*1]
     tdpbf16ps tmm2, tmm5, tmm6
     tdpbf16ps tmm3, tmm5, tmm7",
    "tilestored [{c} + {c_rs}*1], tmm0
     tilestored [{c} + {c_rs}*1 + 64], tmm1
     tilestored [{c_below} + {c_rs}*1], tmm2
     tilestored [{c_below} + {c_rs}*1 + 64], tmm3"
);
multiply!(
    multiply_2_by_1,
    "tilezero tmm0
     tilezero tmm2",
    "tileloadd tmm0, [{c} + {c_rs}*1]
     tileloadd tmm2, [{c_below} + {c_rs}*1]",
    "tileloadd tmm4, [{a} + {a_rs}*1]
     tileloadd tmm6, [{b} + {b_rs}*1]
     tdpbf16ps tmm0, tmm4, tmm6
     tileloadd tmm5, [{below} + {a_rs}*1]
     tdpbf16ps tmm2, tmm5, tmm6",
    "tilestored [{c} + {c_rs}*1], tmm0
     tilestored [{c_below} + {c_rs}*1], tmm2"
);
multiply!(
    multiply_1_by_2,
    "tilezero tmm0
     tilezero tmm1",
    "tileloadd tmm0, [{c} + {c_rs}*1]
     tileloadd tmm1, [{c} + {c_rs}*1 + 64]",
    "tileloadd tmm4, [{a} + {a_rs}*1]
     tileloadd tmm6, [{b} + {b_rs}*1]
     tdpbf16ps tmm0, tmm4, tmm6
     tileloadd tmm7, [{b} + {b_rs}*1 + 64]
     tdpbf16ps tmm1, tmm4, tmm7",
    "tilestored [{c} + {c_rs}*1], tmm0
     tilestored [{c} + {c_rs}*1 + 64], tmm1
     # {c_below}"
);
multiply!(
    multiply_1_by_1,
    "tilezero tmm0",
    "tileloadd tmm0, [{c} + {c_rs}*1]",
    "tileloadd tmm4, [{a} + {a_rs}*1]
     tileloadd tmm6, [{b} + {b_rs}*1]
     tdpbf16ps tmm0, tmm4, tmm6",
    "tilestored [{c} + {c_rs}*1], tmm0
     # {c_below}"
);

/// Packs a panel of b, with zeros up to whole tiles of depth.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,fma,avx2")]
unsafe fn pack_panel_of_tiles(p: &Panel) {
    pack_panel_bf16(p);
    let words = p.depth.div_ceil(2);
    for word in words..words.next_multiple_of(TILE) {
        for lane in (0..p.packed_ld).step_by(16) {
            __m512::splat(0.0).store(p.packed.add(word * p.packed_ld + lane));
        }
    }
}

/// Packs rows of a, with any strides, into tiles: first those of 16 rows for all depths, one behind
/// the other, each row-major. `packed_ld` is the words of depth.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,fma,avx2")]
unsafe fn pack_rows_of_tiles(p: &Panel) {
    for row in (0..p.lanes).step_by(TILE) {
        for word in (0..p.packed_ld).step_by(TILE) {
            let depth = (2 * TILE).min(p.depth - 2 * word);
            let tile = Panel {
                source: p
                    .source
                    .wrapping_add(row * p.lane_stride + 2 * word * p.k_stride),
                lanes: TILE.min(p.lanes - row),
                depth,
                packed: p.packed.add(row * p.packed_ld + word * TILE),
                packed_ld: TILE,
                ..*p
            };
            match p.k_stride {
                1 => pack_rows_bf16(&tile),
                _ => pack_columns(&tile),
            }
        }
    }
}

/// Packs a tile of rows of a that are not contiguous in depth.
#[inline(always)]
unsafe fn pack_columns(tile: &Panel) {
    let mut words = [[0.0f32; TILE]; TILE]; // (depth, rows)
    pack_panel_bf16(&Panel {
        packed: words.as_mut_ptr() as *mut f32,
        ..*tile
    });
    let mut rows = words.map(|word| __m512::load(word.as_ptr()));
    __m512::transpose(&mut rows);
    for (i, row) in rows.into_iter().enumerate() {
        row.store(tile.packed.add(i * TILE));
    }
}
