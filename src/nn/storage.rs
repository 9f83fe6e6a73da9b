//! Reading candle's tensors without copying them.

use candle_core::{CpuStorage, Layout, Storage};

use super::real::Real;

/// The numbers of a contiguous tensor, from its storage and layout.
pub(super) fn slice<'a, T: Real>(
    storage: &'a CpuStorage,
    layout: &Layout,
) -> candle_core::Result<&'a [T]> {
    let Some((from, to)) = layout.contiguous_offsets() else {
        candle_core::bail!("the tensor has to be contiguous, its layout is {layout:?}");
    };
    Ok(&T::cpu_storage_as_slice(storage)?[from..to])
}

/// As [`slice`], from what `Tensor::storage_and_layout` gives.
pub(super) fn slice_of<'a, T: Real>(
    storage: &'a Storage,
    layout: &Layout,
) -> candle_core::Result<&'a [T]> {
    match storage {
        Storage::Cpu(storage) => slice(storage, layout),
        _ => candle_core::bail!("the tensor has to be on the CPU"),
    }
}
