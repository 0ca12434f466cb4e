//! Batches of GEMMs whose matrices are not all at equal distances.
use super::{View, int, types};
use crate::cuda::gpu::{Address, gpu};
use crate::cuda::refusal::done;
use crate::cuda::trace::traced;
use crate::gemm::Precision;
use cudarc::cublas::sys;
use std::ffi::c_void;

/// Operands and destination of a batch of GEMMs, whose matrices are at equal distances.
pub struct Batch {
    pub a: View,
    pub b: View,
    /// Overwritten in f32.
    pub out: View,
}

/// Queues the GEMMs of several batches at once, `count` in each: out (m, n) = a (m, k) · b (k, n).
///
/// All batches have the leading dimensions of the first, and the same operands transposed. Between
/// batches distances may differ, since cuBLAS gets the address of every matrix.
pub fn products_of_batches(
    precision: Precision,
    count: usize,
    [m, n, k]: [usize; 3],
    batches: &[Batch],
) {
    use sys::{cublasGemmAlgo_t::*, cudaDataType_t::*};
    let total = count * batches.len();
    if total * m * n == 0 {
        return;
    }
    let Some(Batch { a, b, out }) = batches.first() else {
        return;
    };
    let (operand_type, compute_type) = types(precision);
    let addresses = |view: fn(&Batch) -> View, bytes: usize| {
        batches.iter().flat_map(move |batch| {
            let view = view(batch);
            (0..count).map(move |i| view.at as usize + i * view.batch_stride * bytes)
        })
    };
    let operand_bytes = precision.bytes();
    let of_a = addresses(|batch| batch.a, operand_bytes);
    let of_b = addresses(|batch| batch.b, operand_bytes);
    let of_out = addresses(|batch| batch.out, Precision::F32.bytes());
    let table = gpu().upload(of_a.chain(of_b).chain(of_out));
    let matrices_of = |part: usize| table.at() + (8 * part * total) as Address;
    let alpha = 1f32;
    let beta = 0f32;
    // SAFETY: the table has the addresses of matrices of these shapes, which `products` explains.
    let gemm = || unsafe {
        sys::cublasGemmBatchedEx(
            *gpu().blas.handle(),
            b.operation(),
            a.operation(),
            int(n),
            int(m),
            int(k),
            &raw const alpha as *const c_void,
            matrices_of(1) as *const *const c_void,
            operand_type,
            int(b.leading_dimension),
            matrices_of(0) as *const *const c_void,
            operand_type,
            int(a.leading_dimension),
            &raw const beta as *const c_void,
            matrices_of(2) as *const *mut c_void,
            CUDA_R_32F,
            int(out.leading_dimension),
            int(total),
            compute_type,
            CUBLAS_GEMM_DFALT,
        )
        .result()
    };
    let name = || format!("{total} GEMMs of {m} x {k} and {k} x {n} by address, {precision:?}");
    done(traced(name, gemm, || gpu().wait()));
}
