//! Matrix products by cuBLAS, and what their factors are: f32 where it lies, of which tf32 takes the upper bits, or narrowed
//! to bf16. Sums are f32.
use super::gpu::{Address, Memory, done, gpu};
use super::narrow;
use crate::gemm::Precision;
use crate::tensor::cuda::{Cuda, Param, Shape, Tensor, address};
use cudarc::cublas::{result::gemm_strided_batched_ex, sys};
use std::any::Any;
use std::ffi::c_void;
use std::rc::Rc;

/// A factor in the format of its products, and what keeps it in memory.
pub struct Factor {
    at: Address,
    _keep: Box<dyn Any>,
}

impl Factor {
    pub fn of<S: Shape>(precision: Precision, tensor: &Tensor<S, f32, Cuda>) -> Factor {
        match precision {
            Precision::Bf16 => Factor::narrow(narrow::of_result(tensor)),
            _ => Factor {
                at: address(tensor),
                _keep: Box::new(tensor.clone()),
            },
        }
    }
    /// Of a parameter, whose copy in bf16 serves all passes.
    pub fn weight(precision: Precision, weight: &Param) -> Factor {
        match precision {
            Precision::Bf16 => Factor::narrow(narrow::of_weight(weight)),
            _ => Factor::of(precision, weight),
        }
    }
    /// Of f32 numbers that outlive it.
    pub fn at(precision: Precision, at: Address, len: usize) -> Factor {
        match precision {
            Precision::Bf16 => Factor::narrow(Rc::new(narrow::narrowed(at, len))),
            _ => Factor {
                at,
                _keep: Box::new(()),
            },
        }
    }
    fn narrow(copy: Rc<Memory>) -> Factor {
        Factor {
            at: copy.at(),
            _keep: Box::new(copy),
        }
    }
    pub fn place(&self) -> Address {
        self.at
    }
    /// As a matrix of this width.
    pub fn rows(&self, width: usize) -> View {
        View::rows(self.at, width)
    }
}

/// A matrix, row by row, or one of several that lie at equal distances.
#[derive(Clone, Copy)]
pub struct View {
    at: Address,
    /// Numbers from row to row.
    step: usize,
    transposed: bool,
    /// Numbers from matrix to matrix.
    batch_stride: usize,
}

impl View {
    pub fn rows(at: Address, step: usize) -> View {
        View {
            at,
            step,
            transposed: false,
            batch_stride: 0,
        }
    }
    pub fn of(memory: &Memory, step: usize) -> View {
        View::rows(memory.at(), step)
    }
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
}

/// Where a product goes.
pub enum Out {
    /// In the format of its factors.
    Set(View),
    /// In f32.
    Wide(View),
    /// To f32, added.
    Add(View),
}

/// For each of `count`: out (m, n) = a (m, k) · b (k, n).
pub fn products(
    precision: Precision,
    count: usize,
    [m, n, k]: [usize; 3],
    a: View,
    b: View,
    out: Out,
) {
    use sys::{
        cublasComputeType_t::*, cublasGemmAlgo_t::*, cublasOperation_t::*, cudaDataType_t::*,
    };
    if count * m * n == 0 {
        return;
    }
    let (narrow, computes) = match precision {
        Precision::F32 => (CUDA_R_32F, CUBLAS_COMPUTE_32F),
        Precision::Tf32 => (CUDA_R_32F, CUBLAS_COMPUTE_32F_FAST_TF32),
        Precision::Bf16 => (CUDA_R_16BF, CUBLAS_COMPUTE_32F),
    };
    let (to, format, keep) = match out {
        Out::Set(to) => (to, narrow, 0f32),
        Out::Wide(to) => (to, CUDA_R_32F, 0f32),
        Out::Add(to) => (to, CUDA_R_32F, 1f32),
    };
    let turn = |view: View| {
        if view.transposed {
            CUBLAS_OP_T
        } else {
            CUBLAS_OP_N
        }
    };
    let (int, one) = (
        |n: usize| i32::try_from(n).expect("a matrix of less than 2^31 rows"),
        1f32,
    );
    // SAFETY: the views are matrices of these shapes in this GPU's memory. cuBLAS counts by columns: it sees every matrix
    // transposed, so the factors change places.
    done(unsafe {
        gemm_strided_batched_ex(
            *gpu().blas.handle(),
            turn(b),
            turn(a),
            int(n),
            int(m),
            int(k),
            &raw const one as *const c_void,
            b.at as *const c_void,
            narrow,
            int(b.step),
            b.batch_stride as i64,
            a.at as *const c_void,
            narrow,
            int(a.step),
            a.batch_stride as i64,
            &raw const keep as *const c_void,
            to.at as *mut c_void,
            format,
            int(to.step),
            to.batch_stride as i64,
            int(count),
            computes,
            CUBLAS_GEMM_DFALT,
        )
    });
}

/// out (m, n) = a (m, k) · b (k, n)
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
