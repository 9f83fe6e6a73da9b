//! Buffers that go from one training step to the next.
//!
//! The activations of a sequence are megabytes. Asking the operating system for fresh ones at every
//! step costs more (page faults) than the arithmetic of the gates, so a layer keeps those it had.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// Idle buffers of one number type. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Pool<T>(Arc<Mutex<Vec<Vec<T>>>>);

/// A buffer on loan; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Buffer<T> {
    /// At least `length` long: growing back within the capacity would mean writing zeros.
    values: Vec<T>,
    length: usize,
    pool: Pool<T>,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Copy + Default> Pool<T> {
    /// Buffers kept idle at most: what a bidirectional layer uses in one step, and some to spare.
    const IDLE_BUFFERS: usize = 16;

    /// A buffer of `length` numbers with unspecified contents.
    pub fn take(&self, length: usize) -> Buffer<T> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The tightest that fits, else the largest, which then grows.
        let fits = |values: &Vec<T>| (values.len() < length, values.len().abs_diff(length));
        let choice = (0..idle.len()).min_by_key(|&k| fits(&idle[k]));
        let mut values = choice.map_or_else(Vec::new, |k| idle.swap_remove(k));
        drop(idle);
        if values.len() < length {
            values.resize(length, T::default());
        }
        Buffer { values, length, pool: self.clone() }
    }

    /// A buffer of `length` zeros.
    pub fn zeros(&self, length: usize) -> Buffer<T> {
        let mut buffer = self.take(length);
        buffer.fill(T::default());
        buffer
    }
}

impl<T> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.values[..self.length]
    }
}

impl<T> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.values[..self.length]
    }
}

impl<T> Drop for Buffer<T> {
    fn drop(&mut self) {
        let mut idle = self.pool.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < Pool::<f32>::IDLE_BUFFERS {
            idle.push(std::mem::take(&mut self.values));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_and_the_tightest_is_chosen() {
        let pool = Pool::<f32>::default();
        let (large, small) = (pool.take(1000), pool.take(10));
        let (large_at, small_at) = (large.as_ptr(), small.as_ptr());
        drop((large, small));
        assert_eq!(pool.take(9).as_ptr(), small_at);
        assert_eq!(pool.take(500).as_ptr(), large_at);
        let mut used = pool.take(5);
        used.fill(7.0);
        drop(used);
        assert!(pool.zeros(5).iter().all(|&value| value == 0.0));
    }
}
