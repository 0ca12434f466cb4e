//! GEMMs by cuBLAS. Operands are tensors in f32, of which tf32 reads the upper bits, or copies in
//! bf16; sums are in f32.
mod batches;

use super::gpu::{Address, Memory, gpu};
use super::narrow;
use super::refusal::done;
use super::trace::traced;
use crate::gemm::Precision;
use crate::tensor::cuda::{Cuda, Param, Shape, Tensor, address};
use cudarc::cublas::{result::gemm_strided_batched_ex, sys};
use std::any::Any;
use std::ffi::c_void;
use std::rc::Rc;

pub use batches::{Batch, products_of_batches};

/// An operand in the format of a precision.
pub struct Factor {
    at: Address,
    /// The owner of the memory.
    _keep: Box<dyn Any>,
}

impl Factor {
    /// Returns a result as an operand.
    pub fn of<S: Shape>(precision: Precision, tensor: &Tensor<S, f32, Cuda>) -> Factor {
        match precision {
            Precision::Bf16 => Factor::shared(narrow::result_copy(tensor)),
            _ => Factor {
                at: address(tensor),
                _keep: Box::new(tensor.clone()),
            },
        }
    }

    /// Returns a parameter as an operand; its copy in bf16 serves all passes.
    pub fn weight(precision: Precision, weight: &Param) -> Factor {
        match precision {
            Precision::Bf16 => Factor::shared(narrow::weight_copy(weight)),
            _ => Factor::of(precision, weight),
        }
    }

    /// Returns `len` numbers of f32 as an operand, which they must outlive.
    pub fn at(precision: Precision, at: Address, len: usize) -> Factor {
        match precision {
            Precision::Bf16 => Factor::shared(Rc::new(narrow::narrowed(at, len))),
            _ => Factor {
                at,
                _keep: Box::new(()),
            },
        }
    }

    /// Takes memory in the format of products that others read too.
    pub(super) fn shared(copy: Rc<Memory>) -> Factor {
        Factor {
            at: copy.at(),
            _keep: Box::new(copy),
        }
    }

    pub fn place(&self) -> Address {
        self.at
    }

    /// Returns the operand as a matrix of this width.
    pub fn rows(&self, width: usize) -> View {
        View::rows(self.at, width)
    }
}

/// A row-major matrix, or a batch of them at equal distances.
#[derive(Clone, Copy)]
pub struct View {
    at: Address,
    /// Numbers from row to row.
    leading_dimension: usize,
    transposed: bool,
    /// Numbers from matrix to matrix of a batch.
    batch_stride: usize,
}

impl View {
    pub fn rows(at: Address, leading_dimension: usize) -> View {
        View {
            at,
            leading_dimension,
            transposed: false,
            batch_stride: 0,
        }
    }

    pub fn of(memory: &Memory, leading_dimension: usize) -> View {
        View::rows(memory.at(), leading_dimension)
    }

    /// Returns the transposed matrix.
    pub fn t(self) -> View {
        View {
            transposed: !self.transposed,
            ..self
        }
    }

    pub fn batch_stride(self, batch_stride: usize) -> View {
        View {
            batch_stride,
            ..self
        }
    }

    fn operation(self) -> sys::cublasOperation_t {
        match self.transposed {
            true => sys::cublasOperation_t::CUBLAS_OP_T,
            false => sys::cublasOperation_t::CUBLAS_OP_N,
        }
    }
}

/// The destination of a GEMM, which is not transposed.
pub enum Out {
    /// Overwritten in the format of the operands.
    Set(View),
    /// Overwritten in f32.
    Wide(View),
    /// Added to, in f32.
    Add(View),
}

/// Queues `count` GEMMs out (m, n) = a (m, k) · b (k, n), over batches of matrices.
pub fn products(
    precision: Precision,
    count: usize,
    [m, n, k]: [usize; 3],
    a: View,
    b: View,
    out: Out,
) {
    use sys::{cublasGemmAlgo_t::*, cudaDataType_t::*};
    if count * m * n == 0 {
        return;
    }
    let (operand_type, compute_type) = types(precision);
    let (c, out_type, beta) = match out {
        Out::Set(c) => (c, operand_type, 0f32),
        Out::Wide(c) => (c, CUDA_R_32F, 0f32),
        Out::Add(c) => (c, CUDA_R_32F, 1f32),
    };
    let alpha = 1f32;
    // SAFETY: the views are matrices of these shapes in this GPU's memory. cuBLAS is column-major:
    // it computes outᵀ = bᵀ · aᵀ, so a and b, and m and n, change places.
    let gemm = || unsafe {
        gemm_strided_batched_ex(
            *gpu().blas.handle(),
            b.operation(),
            a.operation(),
            int(n),
            int(m),
            int(k),
            &raw const alpha as *const c_void,
            b.at as *const c_void,
            operand_type,
            int(b.leading_dimension),
            b.batch_stride as i64,
            a.at as *const c_void,
            operand_type,
            int(a.leading_dimension),
            a.batch_stride as i64,
            &raw const beta as *const c_void,
            c.at as *mut c_void,
            out_type,
            int(c.leading_dimension),
            c.batch_stride as i64,
            int(count),
            compute_type,
            CUBLAS_GEMM_DFALT,
        )
    };
    let name = || format!("{count} GEMMs of {m} x {k} and {k} x {n}, {precision:?}");
    done(traced(name, gemm, || gpu().wait()));
}

/// Returns the types of operands and of sums.
fn types(precision: Precision) -> (sys::cudaDataType_t, sys::cublasComputeType_t) {
    use sys::{cublasComputeType_t::*, cudaDataType_t::*};
    match precision {
        Precision::F32 => (CUDA_R_32F, CUBLAS_COMPUTE_32F),
        Precision::Tf32 => (CUDA_R_32F, CUBLAS_COMPUTE_32F_FAST_TF32),
        Precision::Bf16 => (CUDA_R_16BF, CUBLAS_COMPUTE_32F),
    }
}

fn int(n: usize) -> i32 {
    i32::try_from(n).expect("a matrix of less than 2^31 rows")
}

/// Queues a GEMM out (m, n) = a (m, k) · b (k, n).
pub fn product(precision: Precision, shape: [usize; 3], a: View, b: View, out: Out) {
    products(precision, 1, shape, a, b, out)
}

impl From<Memory> for Factor {
    /// Takes memory in the format of products.
    fn from(memory: Memory) -> Factor {
        Factor {
            at: memory.at(),
            _keep: Box::new(memory),
        }
    }
}
