//! The scale-down delay: the largest of the latest decisions.

use super::TICK_S;

/// The maximum over the newest slots of two seconds.
///
/// Holds only values that can still become the maximum, newest last and falling, so that a decision
/// costs constant time on average however long the delay.
#[derive(Clone, Debug)]
pub struct DelayWindow {
    /// (slot, value), a ring.
    entries: Box<[(i64, u32)]>,
    first: usize,
    length: usize,
}

impl DelayWindow {
    /// A window of ⌈delay / 2⌉ slots, at least one.
    pub fn new(delay_s: u32) -> Self {
        let slots = (i64::from(delay_s) + TICK_S - 1) / TICK_S;
        Self {
            entries: vec![(0, 0); slots.max(1) as usize].into_boxed_slice(),
            first: 0,
            length: 0,
        }
    }

    fn at(&self, position: usize) -> usize {
        let index = self.first + position;
        if index >= self.entries.len() { index - self.entries.len() } else { index }
    }

    /// Takes the decision `value` of the second `now_s` in and gives the maximum.
    pub fn largest_with(&mut self, now_s: i64, value: u32) -> u32 {
        let slot = now_s.div_euclid(TICK_S);
        while self.length > 0 && slot - self.entries[self.first].0 >= self.entries.len() as i64 {
            self.first = self.at(1);
            self.length -= 1;
        }
        let mut value = value;
        while self.length > 0 {
            let (newest_slot, newest) = self.entries[self.at(self.length - 1)];
            if newest_slot == slot {
                value = value.max(newest);
            } else if value < newest {
                break;
            }
            self.length -= 1;
        }
        let end = self.at(self.length);
        self.entries[end] = (slot, value);
        self.length += 1;
        self.entries[self.first].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_delay_ends_at_the_delay_and_an_odd_one_a_second_later() {
        for (delay_s, released_s) in [(4, 4), (5, 6), (6, 6)] {
            let mut window = DelayWindow::new(delay_s);
            assert_eq!(window.largest_with(0, 9), 9);
            for now_s in (2..20).step_by(2) {
                let expected = if now_s < released_s { 9 } else { 1 };
                assert_eq!(window.largest_with(now_s, 1), expected, "{delay_s} {now_s}");
            }
        }
    }

    #[test]
    fn of_several_values_in_one_slot_the_largest_counts() {
        let mut window = DelayWindow::new(4);
        assert_eq!(window.largest_with(2, 3), 3);
        assert_eq!(window.largest_with(3, 2), 3);
        assert_eq!(window.largest_with(4, 1), 3);
        assert_eq!(window.largest_with(6, 1), 1);
    }

    #[test]
    fn it_is_the_maximum_of_the_newest_slots() {
        let values: Vec<u32> = (0..200_u32).map(|i| (i * i * 7 + i * 13) % 23).collect();
        let mut window = DelayWindow::new(14);
        for (i, &value) in values.iter().enumerate() {
            let expected = *values[i.saturating_sub(6)..=i].iter().max().unwrap();
            assert_eq!(window.largest_with(2 * i as i64, value), expected, "{i}");
        }
    }
}
