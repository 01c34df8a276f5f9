//! What the data say: was each command executed once, and in order?

use std::collections::HashSet;
use std::ops::AddAssign;

/// What is wrong with a list; nothing, as a rule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Audit {
    /// Told to the client as executed, but not in the list.
    pub(super) lost: u64,
    /// In the list once more than they should be.
    pub(super) duplicated: u64,
    /// Behind one with a higher number.
    pub(super) disordered: u64,
}

impl AddAssign for Audit {
    fn add_assign(&mut self, other: Self) {
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.disordered += other.disordered;
    }
}

/// Compares a client's list with the numbers of the commands that it knows as executed.
pub(super) fn audit(list: &[u32], accepted: &[u32]) -> Audit {
    let (mut seen, mut highest) = (HashSet::new(), 0);
    let mut found = Audit::default();
    for &number in list {
        if !seen.insert(number) {
            found.duplicated += 1;
        } else if number < highest {
            found.disordered += 1;
        }
        highest = highest.max(number);
    }
    found.lost = accepted.iter().filter(|number| !seen.contains(number)).count() as u64;
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_counted_as_itself() {
        let is = |lost, duplicated, disordered| Audit { lost, duplicated, disordered };
        assert_eq!(audit(&[1, 2, 3], &[1, 2, 3]), is(0, 0, 0));
        assert_eq!(audit(&[1, 4], &[1, 4]), is(0, 0, 0), "a rejected command leaves a gap");
        assert_eq!(audit(&[1, 3], &[1, 2, 3]), is(1, 0, 0));
        assert_eq!(audit(&[1, 2, 2, 3, 1], &[1, 2, 3]), is(0, 2, 0));
        assert_eq!(audit(&[1, 3, 2, 4], &[1, 2, 3, 4]), is(0, 0, 1));
    }
}
