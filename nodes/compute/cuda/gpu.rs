//! The GPU of a stage's thread: its kernels, and memory of an op's own.
//!
//! All goes to the legacy default stream, as all of dfdx does: things happen in the order of the calls.
use crate::cuda::kernels::{Grid, Pack};
use crate::gemm::Precision;
use crate::tensor::Spans;
use cudarc::cublas::{CudaBlas, sys as sys_blas};
use cudarc::driver::result::{launch_kernel, module};
use cudarc::driver::sys::{self, CUfunction, CUmodule};
use cudarc::driver::{CudaDevice, CudaSlice, DevicePtr};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_void};
use std::fmt::Debug;
use std::sync::{Arc, OnceLock};

/// Where numbers lie in the GPU's memory; 0: nowhere.
pub type Address = u64;

const MOST_USED: sys::CUmemPool_attribute =
    sys::CUmemPool_attribute_enum::CU_MEMPOOL_ATTR_USED_MEM_HIGH;
/// Bytes of shared memory that a kernel has without asking.
const FREELY_SHARED: u32 = 48 << 10;

pub struct Gpu {
    device: Arc<CudaDevice>,
    module: CUmodule,
    kernels: RefCell<HashMap<&'static CStr, CUfunction>>,
    pub(crate) blas: CudaBlas,
}

thread_local! {
    // Leaked: a cuBLAS handle cannot be destroyed while the process ends.
    static GPU: &'static Gpu = Box::leak(Box::new(Gpu::open(ordinal())));
}

static ORDINAL: OnceLock<usize> = OnceLock::new();
/// The driver compiles the kernels once: all threads have the context of one GPU.
static MODULE: OnceLock<usize> = OnceLock::new();

/// Which of the GPUs that the driver shows all threads use: the first, unless another is chosen before.
///
/// # Errors
/// There is none of this number.
pub fn choose(ordinal: usize) -> crate::Result<()> {
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

pub fn ordinal() -> usize {
    *ORDINAL.get_or_init(|| 0)
}

/// That of this thread, opened at the first call.
pub fn gpu() -> &'static Gpu {
    GPU.with(|gpu| *gpu)
}

/// Nothing that the GPU refuses can be mended in an op: the node ends, and says why.
pub fn done<T, E: Debug>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|e| match format!("{e:?}") {
        e if e.contains("OUT_OF_MEMORY") => {
            panic!("the GPU's memory is full: smaller batches need less")
        }
        e => panic!("the GPU refused: {e}"),
    })
}

impl Gpu {
    fn open(ordinal: usize) -> Gpu {
        let device = done(CudaDevice::new(ordinal)); // the context and the stream that dfdx has
        keep_freed_memory(&device);
        let load = || {
            let ptx = CString::new(include_str!(concat!(env!("OUT_DIR"), "/kernels.ptx")))
                .expect("PTX is text");
            // SAFETY: the image is text that ends with a zero.
            done(unsafe { module::load_data(ptx.as_ptr() as *const c_void) }) as usize
        };
        let module = *MODULE.get_or_init(load) as CUmodule;
        let blas = done(CudaBlas::new(device.clone()));
        let wide = sys_blas::cublasMath_t::CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION;
        // SAFETY: the handle is the one just made.
        done(unsafe { sys_blas::cublasSetMathMode(*blas.handle(), wide) }.result());
        Gpu {
            device,
            module,
            kernels: RefCell::default(),
            blas,
        }
    }

    /// Uninitialised, for `len` numbers.
    pub fn memory(&self, precision: Precision, len: usize) -> Memory {
        // SAFETY: whoever asks for it writes it before it is read.
        let slice = done(unsafe { self.device.alloc::<u8>((len * precision.bytes()).max(1)) });
        Memory { slice, precision }
    }

    /// Zeros, in f32.
    pub fn zeros(&self, len: usize) -> Memory {
        Memory {
            slice: done(self.device.alloc_zeros::<u8>((4 * len).max(1))),
            precision: Precision::F32,
        }
    }

    /// A copy of numbers of the host's.
    pub fn upload(&self, numbers: impl IntoIterator<Item = usize>) -> Memory {
        let bytes: Vec<u8> = numbers.into_iter().flat_map(usize::to_ne_bytes).collect();
        let slice = if bytes.is_empty() {
            self.device.alloc_zeros(1)
        } else {
            self.device.htod_copy(bytes)
        };
        Memory {
            slice: done(slice),
            precision: Precision::F32,
        }
    }
    /// The `n` numbers of 64 bits there; waits for them.
    pub fn doubles(&self, of: &Memory, n: usize) -> Vec<f64> {
        let bytes = done(self.device.dtoh_sync_copy(&of.slice));
        bytes
            .chunks_exact(8)
            .take(n)
            .map(|b| f64::from_ne_bytes(b.try_into().expect("8 bytes")))
            .collect()
    }

    /// Where the rows of a batch begin, and the last one ends.
    pub fn starts(&self, spans: &Spans) -> Memory {
        self.upload(std::iter::once(0).chain(spans.iter().map(|row| row.end)))
    }

    /// Until all that was queued is done.
    pub fn wait(&self) {
        done(self.device.synchronize());
    }

    /// The most memory in use at once since the process began or forgot it, the tensors' included.
    pub fn peak_bytes(&self) -> u64 {
        let mut bytes = 0u64;
        let to = &raw mut bytes as *mut c_void;
        // SAFETY: the pool is the device's own, and what is asked for a u64.
        done(unsafe { sys::cuMemPoolGetAttribute(pool(&self.device), MOST_USED, to).result() });
        bytes
    }

    /// Begins [`Gpu::peak_bytes`] anew.
    pub fn forget_peak(&self) {
        let mut zero = 0u64; // the one number that the driver takes
        let from = &raw mut zero as *mut c_void;
        // SAFETY: as above.
        done(unsafe { sys::cuMemPoolSetAttribute(pool(&self.device), MOST_USED, from).result() });
    }

    /// Queues a kernel of blocks of 32 x 8 threads, which have so many bytes of shared memory; no block, no launch.
    ///
    /// # Safety
    /// `arguments` point to what the kernel takes, in its order, and every address among them to as much memory as the
    /// kernel reads or writes.
    pub unsafe fn launch(
        &self,
        name: &'static CStr,
        grid: Grid,
        shared: usize,
        arguments: &mut [*mut c_void],
    ) {
        let Ok([x, y]) = grid
            .map(u32::try_from)
            .into_iter()
            .collect::<Result<Vec<_>, _>>()
            .map(|g| [g[0], g[1]])
        else {
            panic!("a batch of {grid:?} blocks is more than a GPU takes");
        };
        if x > 0 && y > 0 {
            let (kernel, shared) = (self.kernel(name), shared as u32);
            // SAFETY: the kernel is of this module, which is never unloaded; the rest is the caller's promise.
            done(unsafe {
                if shared > FREELY_SHARED {
                    let most = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
                    done(sys::cuFuncSetAttribute(kernel, most, shared as i32).result());
                }
                launch_kernel(
                    kernel,
                    (x, y, 1),
                    (32, 8, 1),
                    shared,
                    *self.device.cu_stream(),
                    arguments,
                )
            });
        }
    }

    fn kernel(&self, name: &'static CStr) -> CUfunction {
        // SAFETY: the module is never unloaded.
        let find = || done(unsafe { module::get_function(self.module, name.to_owned()) });
        *self.kernels.borrow_mut().entry(name).or_insert_with(find)
    }
}

/// Else every synchronisation gives all freed memory back to the system.
fn keep_freed_memory(device: &CudaDevice) {
    let (threshold, mut most) = (
        sys::CUmemPool_attribute_enum::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD,
        u64::MAX,
    );
    // SAFETY: the pool is the device's own, and its threshold a u64.
    done(unsafe {
        sys::cuMemPoolSetAttribute(pool(device), threshold, &raw mut most as *mut c_void).result()
    });
}

fn pool(device: &CudaDevice) -> sys::CUmemoryPool {
    let mut pool = std::ptr::null_mut();
    // SAFETY: the device is open, and the pool's handle goes where it says.
    done(unsafe { sys::cuDeviceGetDefaultMemPool(&mut pool, *device.cu_device()).result() });
    pool
}

/// Memory of an op's own: an array in the format of a precision.
pub struct Memory {
    slice: CudaSlice<u8>,
    precision: Precision,
}

impl Memory {
    pub fn at(&self) -> Address {
        *self.slice.device_ptr()
    }
    /// Makes the first numbers of it zeros.
    pub fn clear(&mut self, numbers: usize) {
        if numbers > 0 {
            let bytes = numbers * self.precision.bytes();
            done(
                gpu()
                    .device
                    .memset_zeros(&mut self.slice.slice_mut(..bytes)),
            );
        }
    }
    /// Where a number of it lies.
    pub fn element(&self, index: usize) -> Address {
        self.at() + (index * self.precision.bytes()) as u64
    }
}

impl Precision {
    pub(crate) fn bytes(self) -> usize {
        if self == Precision::Bf16 { 2 } else { 4 }
    }
}

/// Blocks of a kernel with a lane for each pack of `len` numbers, in rows of this width.
pub fn for_each(len: usize, width: usize) -> Grid {
    [len.div_ceil(256 * Pack::of(width).numbers()), 1]
}

/// Blocks of a kernel with a warp for each of `rows`.
pub fn for_rows(rows: usize) -> Grid {
    [rows.div_ceil(8), 1]
}
