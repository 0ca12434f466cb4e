//! The GPU's memory: arrays, what is copied into them and out, and how much was in use.
use super::{Address, Gpu, gpu};
use crate::cuda::pinned::{self, PAGEABLE_NUMBERS};
use crate::cuda::refusal::done;
use crate::gemm::Precision;
use crate::tensor::spans::Spans;
use cudarc::driver::result;
use cudarc::driver::sys;
use cudarc::driver::{CudaDevice, CudaSlice, DevicePtr};
use std::ffi::c_void;

const MOST_USED: sys::CUmemPool_attribute =
    sys::CUmemPool_attribute_enum::CU_MEMPOOL_ATTR_USED_MEM_HIGH;

/// An array in the GPU's memory, of numbers in the format of a precision.
pub struct Memory {
    slice: CudaSlice<u8>,
    precision: Precision,
}

impl Memory {
    /// Returns the address of the first number.
    pub fn at(&self) -> Address {
        *self.slice.device_ptr()
    }

    /// Returns the address of a number.
    pub fn element(&self, index: usize) -> Address {
        self.at() + (index * self.precision.bytes()) as u64
    }

    /// Fills the first numbers with zeros.
    pub fn clear(&mut self, numbers: usize) {
        if numbers > 0 {
            let bytes = numbers * self.precision.bytes();
            let mut slice = self.slice.slice_mut(..bytes);
            done(gpu().device.memset_zeros(&mut slice));
        }
    }
}

impl Gpu {
    /// Allocates memory for `len` numbers, uninitialised.
    pub fn memory(&self, precision: Precision, len: usize) -> Memory {
        // SAFETY: all bits are numbers, and the caller queues a kernel that writes them before one
        // that reads them.
        let slice = done(unsafe { self.device.alloc::<u8>((len * precision.bytes()).max(1)) });
        Memory { slice, precision }
    }

    /// Allocates `len` zeros in f32.
    pub fn zeros(&self, len: usize) -> Memory {
        Memory {
            slice: done(self.device.alloc_zeros::<u8>((4 * len).max(1))),
            precision: Precision::F32,
        }
    }

    /// Copies 64-bit integers of the host into new memory. Does not wait for queued work: more than
    /// the driver copies at once pass through pinned memory.
    pub fn upload(&self, numbers: impl IntoIterator<Item = usize>) -> Memory {
        let numbers: Vec<usize> = numbers.into_iter().collect();
        let halves = 2 * numbers.len();
        let memory = self.memory(Precision::F32, halves);
        // SAFETY: the numbers are as many bytes, and all bits are a float, which is copied as it is.
        let halves = unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast::<f32>(), halves) };
        if halves.len() > PAGEABLE_NUMBERS {
            pinned::upload(&[(&[halves], memory.at())]);
        } else if !halves.is_empty() {
            // SAFETY: the destination was just allocated, with as many bytes.
            done(unsafe {
                result::memcpy_htod_async(memory.at(), halves, *self.device.cu_stream())
            });
        }
        memory
    }

    /// Waits for queued work, and returns a copy of the first `n` numbers of 64 bits.
    pub fn doubles(&self, memory: &Memory, n: usize) -> Vec<f64> {
        let bytes = done(self.device.dtoh_sync_copy(&memory.slice));
        bytes
            .chunks_exact(8)
            .take(n)
            .map(|b| f64::from_ne_bytes(b.try_into().expect("8 bytes")))
            .collect()
    }

    /// Uploads where the rows of a batch begin, and where the last one ends.
    pub fn starts(&self, spans: &Spans) -> Memory {
        self.upload(std::iter::once(0).chain(spans.iter().map(|row| row.end)))
    }

    /// Returns the most bytes in use at once, tensors included, since the process started or since
    /// [`Gpu::reset_peak`].
    pub fn peak_bytes(&self) -> u64 {
        let mut bytes = 0u64;
        let to = &raw mut bytes as *mut c_void;
        // SAFETY: the pool is the device's, and the attribute is a u64.
        done(unsafe { sys::cuMemPoolGetAttribute(pool(&self.device), MOST_USED, to).result() });
        bytes
    }

    /// Resets [`Gpu::peak_bytes`] to the bytes in use now.
    pub fn reset_peak(&self) {
        let mut zero = 0u64; // the only value that the driver allows
        let from = &raw mut zero as *mut c_void;
        // SAFETY: as above.
        done(unsafe { sys::cuMemPoolSetAttribute(pool(&self.device), MOST_USED, from).result() });
    }
}

impl Precision {
    /// Returns the bytes of a number inside ops.
    pub(crate) fn bytes(self) -> usize {
        if self == Precision::Bf16 { 2 } else { 4 }
    }
}

/// Lets the pool keep freed memory, which it would give back to the system at each synchronisation.
pub(super) fn keep_freed_memory(device: &CudaDevice) {
    let attribute = sys::CUmemPool_attribute_enum::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    let mut threshold = u64::MAX;
    let from = &raw mut threshold as *mut c_void;
    // SAFETY: the pool is the device's, and the attribute is a u64.
    done(unsafe { sys::cuMemPoolSetAttribute(pool(device), attribute, from).result() });
}

/// Returns the pool of which all of a device's memory is.
fn pool(device: &CudaDevice) -> sys::CUmemoryPool {
    let mut pool = std::ptr::null_mut();
    // SAFETY: the device is open, and the driver writes the pool's handle.
    done(unsafe { sys::cuDeviceGetDefaultMemPool(&mut pool, *device.cu_device()).result() });
    pool
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On both sides of what the driver copies at once.
    #[test]
    fn integers_arrive_as_they_were_sent() {
        for n in [0, 1, PAGEABLE_NUMBERS / 2, PAGEABLE_NUMBERS / 2 + 1, 20_000] {
            let number = |i: usize| i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let memory = gpu().upload((0..n).map(number));
            let found = gpu().doubles(&memory, n).into_iter();
            assert!(
                found.map(|x| x.to_bits() as usize).eq((0..n).map(number)),
                "{n}"
            );
        }
    }
}
