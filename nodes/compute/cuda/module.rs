//! The kernels' program: checked against the driver, then loaded once in a process.
//!
//! The build script makes a fat binary: machine code for A100 and H100, and PTX that the driver
//! compiles for any later GPU.
use super::refusal::done;
use cudarc::driver::sys::{self, CUjit_option_enum as Jit, CUmodule};
use std::ffi::c_void;
use std::sync::OnceLock;

/// The fat binary, aligned as the driver reads its header.
#[repr(C, align(16))]
struct Aligned<T: ?Sized>(T);
static IMAGE: &Aligned<[u8]> =
    &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/kernels.fatbin")));

/// The release of the toolkit that compiled the kernels, such as 13.0; `None` without one.
const TOOLKIT: Option<&str> = option_env!("CUDA_TOOLKIT_RELEASE");

/// Bytes for what the driver's compiler says.
const LOG_BYTES: usize = 16 << 10;

static MODULE: OnceLock<usize> = OnceLock::new();

/// Returns the kernels' module, which all threads share with the context of one GPU. The calling
/// thread's context is that of the GPU.
///
/// # Panics
/// If the driver refuses the kernels, with what its compiler says.
pub(super) fn module() -> CUmodule {
    *MODULE.get_or_init(|| load() as usize) as CUmodule
}

fn load() -> CUmodule {
    let mut module: CUmodule = std::ptr::null_mut();
    let mut log = vec![0u8; LOG_BYTES];
    let mut options = [
        Jit::CU_JIT_ERROR_LOG_BUFFER,
        Jit::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
    ];
    let mut values = [log.as_mut_ptr() as *mut c_void, LOG_BYTES as *mut c_void];
    // SAFETY: the image is a fat binary, and both arrays have two items; the log is as long as said.
    let loaded = unsafe {
        sys::cuModuleLoadDataEx(
            &mut module,
            IMAGE.0.as_ptr() as *const c_void,
            options.len() as u32,
            options.as_mut_ptr(),
            values.as_mut_ptr(),
        )
    };
    let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
    let said = String::from_utf8_lossy(&log[..end]);
    if !said.trim().is_empty() {
        eprintln!("the driver about the kernels: {}", said.trim());
    }
    done(loaded.result());
    module
}

/// Checks that the driver is new enough for this build.
///
/// # Errors
/// The driver is of an older major release of CUDA than the toolkit of the build: it can load
/// neither the kernels nor cuBLAS.
pub(super) fn check_driver() -> crate::Result<()> {
    let Some(toolkit) = TOOLKIT else {
        return Ok(());
    };
    let mut version = 0;
    // SAFETY: the driver writes the number, which needs no context.
    done(unsafe { sys::cuDriverGetVersion(&mut version) }.result());
    Ok(compare(toolkit, version)?)
}

/// Compares the toolkit's release with the driver's version, 1000 major + 10 minor.
fn compare(toolkit: &str, driver: i32) -> Result<(), String> {
    let major = toolkit.split('.').next().and_then(|text| text.parse().ok());
    if major.is_none_or(|major: i32| driver / 1000 >= major) {
        return Ok(());
    }
    let found = format!("{}.{}", driver / 1000, driver % 1000 / 10);
    Err(format!(
        "this build needs a driver for CUDA {toolkit}, and this machine's is for CUDA {found}: \
         install a newer driver, or build with a toolkit of CUDA {found}"
    ))
}

#[cfg(test)]
mod tests {
    use super::compare;

    #[test]
    fn an_older_driver_is_refused_by_its_major_release() {
        assert!(compare("13.0", 13_000).is_ok() && compare("13.1", 13_000).is_ok());
        assert!(compare("12.8", 13_000).is_ok());
        let refusal = compare("13.0", 12_040).unwrap_err();
        assert!(refusal.contains("is for CUDA 12.4"), "{refusal}");
    }
}
