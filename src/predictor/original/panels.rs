//! A matrix laid out for the product of a row vector with it.

/// Columns of a panel: enough sums side by side to hide the latency of an addition, few enough to
/// stay in registers.
pub(in crate::predictor) const WIDTH: usize = 32;

/// One row of a panel, or as many sums.
pub(in crate::predictor) type Lane = [f32; WIDTH];

/// A matrix cut into panels of [`WIDTH`] columns, each stored row after row; the last is filled up
/// with zeros. A product then reads memory in order and keeps its sums in registers. Each sum is
/// taken in the order of the rows, whatever the width of the machine's registers.
#[derive(Clone, Debug)]
pub(in crate::predictor) struct Panels {
    rows: usize,
    lanes: Vec<Lane>,
}

impl Panels {
    /// Packs a row-major matrix of `rows` rows.
    pub fn pack(matrix: &[f32], rows: usize) -> Self {
        let columns = matrix.len() / rows;
        let mut lanes = vec![[0.0; WIDTH]; columns.div_ceil(WIDTH) * rows];
        for (row, values) in matrix.chunks_exact(columns).enumerate() {
            for (panel, part) in values.chunks(WIDTH).enumerate() {
                lanes[panel * rows + row][..part.len()].copy_from_slice(part);
            }
        }
        Self { rows, lanes }
    }

    /// Number of panels, and of lanes of a result.
    pub fn count(&self) -> usize {
        self.lanes.len() / self.rows
    }

    /// Adds `input` times the matrix to `sums`.
    #[inline(always)]
    pub fn add_product(&self, input: &[f32], sums: &mut [Lane]) {
        for (sum, panel) in sums.iter_mut().zip(self.lanes.chunks_exact(self.rows)) {
            add_panel(input, panel, sum);
        }
    }

    /// Adds every row of `inputs` times the matrix to its row of `sums`. Panel by panel, because a
    /// panel stays in the nearest cache and the whole matrix does not.
    #[inline(always)]
    pub fn add_products(&self, inputs: &[f32], sums: &mut [Lane]) {
        let count = self.count();
        for (index, panel) in self.lanes.chunks_exact(self.rows).enumerate() {
            for (input, sums) in inputs.chunks_exact(self.rows).zip(sums.chunks_exact_mut(count)) {
                add_panel(input, panel, &mut sums[index]);
            }
        }
    }
}

#[inline(always)]
fn add_panel(input: &[f32], panel: &[Lane], sum: &mut Lane) {
    let mut local = *sum;
    for (&factor, row) in input.iter().zip(panel) {
        for (sum, weight) in local.iter_mut().zip(row) {
            *sum += factor * weight;
        }
    }
    *sum = local;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_is_that_of_the_plain_matrix() {
        let (rows, columns) = (3, WIDTH + 5);
        let matrix: Vec<f32> = (0..rows * columns).map(|index| (index % 11) as f32 - 4.0).collect();
        let panels = Panels::pack(&matrix, rows);
        assert_eq!(panels.count(), 2);
        let inputs = [1.0, -2.0, 0.5, 3.0, 0.0, 1.0];
        let mut sums = vec![[1.0; WIDTH]; 4];
        panels.add_products(&inputs, &mut sums);
        let mut single = vec![[1.0; WIDTH]; 2];
        panels.add_product(&inputs[3..], &mut single);
        assert_eq!(sums[2..], single);
        for (row, input) in inputs.chunks(rows).enumerate() {
            for column in 0..columns {
                let product: f32 = (0..rows).map(|k| input[k] * matrix[k * columns + column]).sum();
                assert_eq!(sums[row * 2..].as_flattened()[column], 1.0 + product);
            }
        }
    }
}
