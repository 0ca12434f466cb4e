//! The GPU of the calling thread: its context and its kernels.
//!
//! All work is queued on the legacy default stream, as dfdx's is, so it is done in the order of the
//! calls.
mod memory;

use super::grid::Grid;
use super::module::{check_driver, module};
use super::refusal::done;
use super::trace::traced;
use cudarc::cublas::{CudaBlas, sys as sys_blas};
use cudarc::driver::CudaDevice;
use cudarc::driver::result::{self, launch_kernel, module::get_function};
use cudarc::driver::sys::{self, CUfunction};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CStr, c_void};
use std::sync::{Arc, OnceLock};

pub use memory::Memory;
use memory::keep_freed_memory;

/// An address in the GPU's memory; 0 is no address.
pub type Address = u64;

/// Bytes of dynamic shared memory that a kernel may have without setting an attribute.
const DEFAULT_SHARED_BYTES: usize = 48 << 10;
/// The most blocks of a grid by x and y.
const MOST_BLOCKS: Grid = [i32::MAX as usize, 65_535];

pub struct Gpu {
    device: Arc<CudaDevice>,
    kernels: RefCell<HashMap<&'static CStr, CUfunction>>,
    pub(crate) blas: CudaBlas,
}

thread_local! {
    // Leaked: a cuBLAS handle cannot be destroyed while the process ends.
    static GPU: &'static Gpu = Box::leak(Box::new(Gpu::open(ordinal())));
}

static ORDINAL: OnceLock<usize> = OnceLock::new();

/// Chooses the GPU of all threads, by its number among those that the driver shows. Without a
/// choice before the first use it is number 0.
///
/// # Errors
/// The driver is too old for this build, there is no GPU of this number, or one was chosen before.
pub fn choose(ordinal: usize) -> crate::Result<()> {
    result::init().map_err(|error| {
        format!(
            "no GPU can be used: {error:?}; `nvidia-smi` says whether its driver runs and a GPU is there"
        )
    })?;
    check_driver()?;
    let count =
        CudaDevice::count().map_err(|e| format!("the driver does not tell its GPUs: {e:?}"))?;
    if ordinal >= count as usize {
        return Err(
            format!("there is no cuda:{ordinal}: GPUs that the driver shows: {count}").into(),
        );
    }
    ORDINAL
        .set(ordinal)
        .map_err(|_| "a GPU was chosen already".into())
}

/// Returns the number of the GPU, which cannot be chosen any more.
pub fn ordinal() -> usize {
    *ORDINAL.get_or_init(|| 0)
}

/// Returns the GPU of this thread, and opens it at the first call.
pub fn gpu() -> &'static Gpu {
    GPU.with(|gpu| *gpu)
}

impl Gpu {
    fn open(ordinal: usize) -> Gpu {
        let device = done(CudaDevice::new(ordinal)); // shares dfdx's context and stream
        keep_freed_memory(&device);
        let blas = done(CudaBlas::new(device.clone()));
        let wide = sys_blas::cublasMath_t::CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION;
        // SAFETY: the handle is the one just made.
        done(unsafe { sys_blas::cublasSetMathMode(*blas.handle(), wide) }.result());
        Gpu {
            device,
            kernels: RefCell::default(),
            blas,
        }
    }

    /// Synchronises: waits until all queued work is done.
    pub fn wait(&self) {
        done(self.device.synchronize());
    }

    /// Queues the kernel of an entry point on `grid` blocks of 32 x 8 threads, with this many bytes
    /// of dynamic shared memory; a grid without blocks queues nothing.
    ///
    /// # Safety
    /// `arguments` point to the kernel's parameters, in their order and of their types, and the
    /// caller keeps the contract of [`crate::cuda::kernels`].
    pub(super) unsafe fn launch(
        &self,
        entry_point: &'static CStr,
        grid: Grid,
        shared_bytes: usize,
        arguments: &mut [*mut c_void],
    ) {
        let [x, y] = grid;
        if x == 0 || y == 0 {
            return;
        }
        let [most_x, most_y] = MOST_BLOCKS;
        assert!(
            x <= most_x && y <= most_y,
            "a batch asks for a grid of {x} x {y} blocks of {entry_point:?}, a GPU takes {most_x} x \
             {most_y}: smaller batches need less"
        );
        let kernel = self.kernel(entry_point);
        if shared_bytes > DEFAULT_SHARED_BYTES {
            allow_shared_bytes(entry_point, kernel, shared_bytes);
        }
        let stream = *self.device.cu_stream();
        let blocks = (x as u32, y as u32, 1);
        let queue = || {
            // SAFETY: the kernel is of this module, which is never unloaded; the arguments are the
            // caller's promise.
            let launched = unsafe {
                launch_kernel(
                    kernel,
                    blocks,
                    (32, 8, 1),
                    shared_bytes as u32,
                    stream,
                    arguments,
                )
            };
            if let Err(error) = launched {
                panic!("the GPU refused {entry_point:?}: {error:?}");
            }
        };
        let name = || format!("{entry_point:?} on {x} x {y} blocks");
        traced(name, queue, || self.wait());
    }

    /// Returns the kernel of an entry point, which is looked up once.
    fn kernel(&self, name: &'static CStr) -> CUfunction {
        // SAFETY: the module is never unloaded.
        let find = || done(unsafe { get_function(module(), name.to_owned()) });
        *self.kernels.borrow_mut().entry(name).or_insert_with(find)
    }
}

/// Lets a kernel have more dynamic shared memory than is usual.
///
/// # Panics
/// If a block of this GPU cannot have as much.
fn allow_shared_bytes(entry_point: &CStr, kernel: CUfunction, shared_bytes: usize) {
    let attribute = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
    // SAFETY: the kernel is of the module, which is never unloaded.
    let allowed = unsafe { sys::cuFuncSetAttribute(kernel, attribute, shared_bytes as i32) };
    if let Err(error) = allowed.result() {
        panic!(
            "{entry_point:?} needs {shared_bytes} bytes of shared memory a block, more than this \
             GPU has: {error:?}; an A100 or H100 has enough"
        );
    }
}
