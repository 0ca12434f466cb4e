//! Sums of gradients over the GPUs of all ranks, by NCCL, which reads and writes them where they
//! are. Its order of addition depends on the number of ranks.
use super::Transport;
use crate::cuda::gpu::gpu;
use crate::cuda::refusal::report;
use crate::tensor::cuda::{Param, address, len};
use cudarc::nccl::result;
use cudarc::nccl::sys::{ncclComm_t, ncclDataType_t, ncclRedOp_t, ncclUniqueId};
use std::ffi::{c_char, c_void};
use std::mem::MaybeUninit;
use std::ptr;

/// The communicator of all ranks.
pub(super) struct Nccl(ncclComm_t);

impl Nccl {
    /// Joins the GPU of this thread with those of the other ranks. The first rank makes the id of
    /// the communicator, which `transport` brings to the others.
    ///
    /// # Panics
    /// NCCL refuses, for instance because two ranks have one GPU.
    pub(super) fn join(transport: &dyn Transport) -> Nccl {
        gpu(); // makes its context that of this thread
        let own = match transport.rank() {
            0 => checked(result::get_uniqueid())
                .internal
                .map(|byte| byte as u8)
                .to_vec(),
            _ => vec![],
        };
        let ids = transport.gather("the start of NCCL", &own, false);
        let mut id = ncclUniqueId { internal: [0; 128] };
        for (to, from) in id.internal.iter_mut().zip(&ids[0]) {
            *to = *from as c_char;
        }
        let mut comm = MaybeUninit::uninit();
        let count = transport.count() as i32;
        let rank = transport.rank() as i32;
        // SAFETY: NCCL writes the communicator before it returns without an error.
        unsafe {
            checked(result::comm_init_rank(comm.as_mut_ptr(), count, id, rank));
            Nccl(comm.assume_init())
        }
    }

    /// Adds up the gradients of all ranks in place; each rank has those of the same parameters.
    pub(super) fn sum(&self, gradients: &[Param]) {
        checked(result::group_start());
        for gradient in gradients.iter().filter(|gradient| len(gradient) > 0) {
            let numbers = address(gradient) as *mut c_void;
            let float = ncclDataType_t::ncclFloat32;
            let sum = ncclRedOp_t::ncclSum;
            // SAFETY: the address is that of as many numbers, which no one else reads or writes
            // before what is queued on the default stream after this.
            let queued = unsafe {
                let count = len(gradient);
                result::all_reduce(numbers, numbers, count, float, sum, self.0, ptr::null_mut())
            };
            checked(queued);
        }
        checked(result::group_end());
    }
}

impl Drop for Nccl {
    fn drop(&mut self) {
        // SAFETY: the communicator is used no more. Unlike `comm_destroy` this waits for no rank.
        let aborted = unsafe { result::comm_abort(self.0) };
        report(
            "the end of NCCL",
            aborted.map(|_| ()).map_err(|error| error.0),
        );
    }
}

/// Unwraps what NCCL returned.
///
/// # Panics
/// On any error: the node ends with the message.
fn checked<T>(returned: Result<T, result::NcclError>) -> T {
    returned.unwrap_or_else(|error| panic!("NCCL refused: {:?}", error.0))
}
