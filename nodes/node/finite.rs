//! Numbers that are not finite are no model: none is written with them.
use crate::Result;
use compute::tensor::{Param, read};

/// Fails if a tensor holds a number that is not finite, and says what keeps numbers finite.
///
/// The weights of the last update reach no loss, so `optimize` cannot notice them.
pub fn check_finite<'a>(tensors: impl IntoIterator<Item = (&'a str, &'a Param)>) -> Result<()> {
    for (name, values) in tensors {
        if read(values).iter().any(|x| !x.is_finite()) {
            return Err(format!(
                "`{name}` is not finite at the end of the phase, so no model is written; lower \
                 `rates` or `weight_decay`, or set `clip_norm`, or look at the model that `init` \
                 names"
            )
            .into());
        }
    }
    Ok(())
}
